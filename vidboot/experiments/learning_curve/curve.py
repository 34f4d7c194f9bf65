"""A learning curve: held-out error against the number of full videos, for every method.

All results are files in the output folder. So a stopped run goes on where it was, and several processes can share the
work.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vidboot.config import RunConfig
from vidboot.data.config import DataConfig
from vidboot.data.files import make_folder
from vidboot.distributed import init_distributed
from vidboot.errors import UserError
from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.experiments.learning_curve.data import CurveData, ids, load_data
from vidboot.experiments.learning_curve.rivals.ambient import Ambient
from vidboot.experiments.learning_curve.rivals.diffusion_forcing import DiffusionForcing
from vidboot.experiments.learning_curve.rivals.msm import msm
from vidboot.experiments.learning_curve.rows import Methods, Rows
from vidboot.experiments.learning_curve.summary import write_curve
from vidboot.experiments.learning_curve.tasks import Task, keyed_name, run_tasks
from vidboot.model.form import FORMS
from vidboot.model.run_folder import weights_hash
from vidboot.settings import load_settings
from vidboot.training.log import set_up_logging
from vidboot.training.run import train

Rival = Ambient | DiffusionForcing
TRAINED_RIVALS: dict[str, type[Rival]] = {"ambient": Ambient, "diffusion_forcing": DiffusionForcing}
"""Rivals that train a network of their own."""
Method = tuple[str, Callable[[int, int, Path], Rows], tuple[Task, ...]]
"""Its name, how its rows are measured with a number of full videos and a seed, and what it needs."""


def load_curve_settings(path: Path, overrides: list[str], quick: bool) -> CurveConfig:
    """Read the settings of a file; `quick` applies its settings of that name before the overrides.

    Raises `UserError` as `load_settings`.
    """
    config = load_settings(CurveConfig, path, overrides)
    return load_settings(CurveConfig, path, [*config.quick, *overrides]) if quick else config


def learning_curve(config: CurveConfig) -> None:
    """Do the tasks that are not done yet; then, or when stopped, write table, plot and JSON into the output folder."""
    make_folder(config.output)
    init_distributed()
    set_up_logging()
    data = load_data(config)
    cells, folder = make_tasks(config, data), config.output / "cells"
    try:
        run_tasks(cells, folder)
    finally:  # if stopped, with the results so far
        found = [(task.settings, task.result(folder)) for task in cells if "count" in task.settings]
        if measured := [settings | result for settings, result in found if result is not None]:
            write_curve(config, measured)


def make_tasks(config: CurveConfig, data: CurveData) -> list[Task]:
    """A task for each network that is trained on partial data, then one for each method, number of videos and seed.

    In a run without low-res views the clip network learns from all partial data, so it is the joint network. The
    costliest methods come first.
    """
    shared = _settings(config.run)
    before = _settings(config.run.model_copy(update={"residual": None, "calibration": None}))
    before |= data.identity("partial")

    def at(name: str) -> Path:
        """Its folder. The name holds a hash of settings and data, so that other weights are never used."""
        return config.output / keyed_name(name, before, {})

    methods = Methods(config, data, at("views"), at("joint"))
    run = config.run.model_copy(update={"run_dir": at("views"), "data": _data_of(config.run, data)})
    views = Task("views", before, partial(_train_views, run), check=partial(_check_weights, at("views")))
    rivals: dict[str, Rival] = {
        name: rival(methods, at(name)) for name, rival in TRAINED_RIVALS.items() if name in config.rivals
    }
    of_partial: dict[str, Callable[[Path], None]] = {"joint": methods.train_joint} if config.run.low_res else {}
    of_partial |= {name: rival.train_on_partial_data for name, rival in rivals.items()}
    trained = {name: _pretraining(name, before, at(name), train) for name, train in of_partial.items()}
    held_out = data.identity("validation", "test") | {"test_videos": config.test_videos, "samples": config.samples}
    if config.samples:
        held_out["sample_steps"] = config.run.log.sample_steps
    tasks = [views, *trained.values()]
    for name, rows in (("fixed", methods.fixed), ("msm", partial(msm, methods))):
        if name == "fixed" or name in config.rivals:
            tasks.append(Task(name, shared | held_out | {"count": 0, "seed": 0}, _rows(rows), (views,)))
    for name, method, needs in _methods(methods, rivals, views, trained):
        tasks += _cells(name, method, needs, methods, shared | held_out)
    return tasks


def _methods(methods: Methods, rivals: Mapping[str, Rival], views: Task, trained: Mapping[str, Task]) -> list[Method]:
    """The methods that learn from full videos."""
    found: list[Method] = [("direct", methods.direct, ())]
    if "joint" in trained:
        found.append(("joint_fine_tuned", methods.joint_fine_tuned, (trained["joint"],)))
    found += [(name, rival.row, (trained[name],)) for name, rival in rivals.items()]
    of_views = methods.fine_tuned, methods.fine_tuned_like_residual, methods.bootstrapped
    found += [(method.__name__, method, (views,)) for method in of_views]
    cases = FORMS if methods.config.special_cases else ()
    return found + [(f"special_case-{form}", partial(methods.special_case, form), (views,)) for form in cases]


def _cells(
    name: str,
    method: Callable[[int, int, Path], Rows],
    needs: tuple[Task, ...],
    methods: Methods,
    settings: Mapping[str, Any],
) -> Iterator[Task]:
    """A task for each number of full videos and seed."""
    config = methods.config
    for count, seeds in zip(config.counts, config.seeds, strict=True):
        for seed in range(seeds):
            own = {"count": count, "seed": seed, "full": ids(methods.data.draw(count, seed))}
            own |= {"rates": config.rates, "stopping_points": config.stopping_points, "protocol": config.protocol}
            rows = _rows(partial(method, count, seed))
            yield Task(f"{name}-n{count}-s{seed}", {**settings, **own}, rows, needs)


def _pretraining(name: str, settings: dict[str, Any], folder: Path, train: Callable[[Path], None]) -> Task:
    """A task that trains a network on partial data, into a folder."""

    def run(work: Path) -> dict[str, Any]:
        """Train, and say which weights came out."""
        train(work)
        return {"weights": weights_hash(folder)}

    return Task(name, settings, run, check=partial(_check_weights, folder))


def _settings(run: RunConfig) -> dict[str, Any]:
    """Settings that results depend on: all but paths and what is logged."""
    return {"run": run.model_dump(mode="json", exclude={"run_dir", "log", "data"})} | {
        "data": run.data.model_dump(mode="json", exclude={"manifest", "num_workers", "memory_gb"})
    }


def _data_of(run: RunConfig, data: CurveData) -> DataConfig:
    return run.data if data.manifest is None else run.data.model_copy(update={"manifest": data.manifest})


def _check_weights(trained: Path, result: dict[str, Any]) -> None:
    """Raise `UserError` if the folder has other weights than those that the results belong to."""
    if weights_hash(trained) != result["weights"]:
        raise UserError(
            f"the weights in {trained} are not those that the results were to be measured with: delete that folder and "
            f"the result {trained.name}.json, so that they are trained again"
        )


def _train_views(run: RunConfig, work: Path) -> dict[str, Any]:
    for name in run.views:
        train(run, only=name)
    return {"weights": weights_hash(run.run_dir)}


def _rows(method: Callable[[Path], Rows]) -> Callable[[Path], dict[str, Any]]:
    return lambda work: {"rows": method(work)}
