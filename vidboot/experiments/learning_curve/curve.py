"""A learning curve: held-out error against the number of full videos, for every method.

All results are files in the output folder. So a stopped run goes on where it was, and several processes can share the
work.
"""

from collections.abc import Callable
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
from vidboot.experiments.learning_curve.rows import Methods, Rows
from vidboot.experiments.learning_curve.summary import write_curve
from vidboot.experiments.learning_curve.tasks import Task, keyed_name, run_tasks
from vidboot.model.form import FORMS
from vidboot.model.run_folder import weights_hash
from vidboot.settings import load_settings
from vidboot.training.log import set_up_logging
from vidboot.training.run import train


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
    """A task for the views, one for the joint network, then one for each method, number of full videos and seed.

    In a run without low-res views the clip network learns from all partial data, so it is the joint network. The
    costliest methods come first.
    """
    shared = _settings(config.run)
    before = _settings(config.run.model_copy(update={"residual": None, "calibration": None}))
    before |= data.identity("partial")
    # The names hold a hash of settings and data, so that weights of other settings or data are never used.
    at = {name: config.output / keyed_name(name, before, {}) for name in ("views", "joint")}
    methods = Methods(config, data, at["views"], at["joint"])
    run = config.run.model_copy(update={"run_dir": at["views"], "data": _data_of(config.run, data)})
    views = Task("views", before, partial(_train_views, run), check=partial(_check_weights, at["views"]))
    joint = Task("joint", before, partial(_train_joint, methods), check=partial(_check_weights, at["joint"]))
    held_out = data.identity("validation", "test") | {"test_videos": config.test_videos, "samples": config.samples}
    if config.samples:
        held_out["sample_steps"] = config.run.log.sample_steps
    tasks = [views, Task("fixed", shared | held_out | {"count": 0, "seed": 0}, _rows(methods.fixed), (views,))]
    trained: list[tuple[Any, tuple[Task, ...]]] = [(methods.direct, ())]
    if config.run.low_res:
        tasks.insert(1, joint)
        trained.append((methods.joint_fine_tuned, (joint,)))
    trained += [(m, (views,)) for m in (methods.fine_tuned, methods.fine_tuned_like_residual, methods.bootstrapped)]
    trained += [(partial(methods.special_case, form), (views,)) for form in FORMS if config.special_cases]
    for method, needs in trained:
        for count, seeds in zip(config.counts, config.seeds, strict=True):
            for seed in range(seeds):
                own = {"count": count, "seed": seed, "full": ids(data.draw(count, seed))}
                own |= {"rates": config.rates, "stopping_points": config.stopping_points, "protocol": config.protocol}
                name = f"{_name(method)}-n{count}-s{seed}"
                tasks.append(Task(name, shared | held_out | own, _rows(partial(method, count, seed)), needs))
    return tasks


def _name(method: Any) -> str:
    """The name of a method, with the form of a special case."""
    return f"{method.func.__name__}-{method.args[0]}" if isinstance(method, partial) else method.__name__


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


def _train_joint(methods: Methods, work: Path) -> dict[str, Any]:
    methods.train_joint(work)
    return {"weights": weights_hash(methods.joint)}


def _rows(method: Callable[[Path], Rows]) -> Callable[[Path], dict[str, Any]]:
    return lambda work: {"rows": method(work)}
