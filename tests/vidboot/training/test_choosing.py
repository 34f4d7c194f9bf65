"""The choice of the residual's form: what each form trains on and costs, and that stopping it changes nothing."""

import json
from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from small_model import SETTINGS, small_model
from torch.utils.flop_counter import FlopCounterMode

from vidboot.config import RunConfig
from vidboot.data.manifest import load_manifest
from vidboot.data.split import split_shots
from vidboot.distributed import init_distributed
from vidboot.experiments.digits import write_digits
from vidboot.method.calibration import all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.edm import loss_weight
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.form import FORMS, TRIED
from vidboot.model.run_folder import load, save_config, save_weights
from vidboot.model.video_model import residual_network, view_network
from vidboot.settings import check_settings
from vidboot.training.candidate import Candidate
from vidboot.training.choosing import candidates_of
from vidboot.training.held_out import HeldOut
from vidboot.training.network_training import draw_steps
from vidboot.training.residual_stage import ResidualStage
from vidboot.training.step import TrainStep

CHANGES = {
    "calibration": None,
    "data": {"manifest": "data", "context": 0.0, "num_workers": 0},
    "evaluation": {"sigmas": [0.5, 2.0], "num_videos": 3},
    "log": {"log_every": 100, "sample_every": 100, "evaluate_every": 3, "checkpoint_every": 2},
}


class KilledError(Exception):
    """What stands for a process that is killed."""


@pytest.fixture
def stage_in(tmp_path, monkeypatch):
    """A stage of a run whose views are untrained, in a folder of its own, and its split."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    init_distributed()
    write_digits(tmp_path / "digits", full=14, clips=0, low_res=0, num_frames=12, size=16)
    manifest = load_manifest(tmp_path / "digits")

    def made(name):
        residual = {"train": {"steps": 9, "batch_size": 2, "learning_rate": 1e-3, "warmup_steps": 2}}
        changes = CHANGES | {"run_dir": str(tmp_path / name), "residual": residual}
        config = check_settings(RunConfig, SETTINGS | changes, "settings")
        torch.manual_seed(0)
        for view, settings in config.views.items():
            save_weights(config.run_dir / view, view_network(config, settings))
        (config.run_dir / "split.json").write_text('{"fps": 24}')
        save_config(config.run_dir, config)
        return ResidualStage(config, config.residual), split_shots(manifest, 0.5)

    return made


@pytest.mark.slow
def test_a_choice_that_is_killed_again_and_again_ends_as_if_it_had_not_been(stage_in, monkeypatch):
    stage, split = stage_in("whole")
    stage.run(split)
    expected = load_file(stage.folder / "model.safetensors")

    stage, split = stage_in("killed")
    step, left, kills = TrainStep.__call__, 0, 0

    def dies(self, *arguments):
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return step(self, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", dies)
    while not stage.is_finished():
        left = 3  # a checkpoint is written every other step
        try:
            stage.run(split)
        except KilledError:
            kills += 1
    assert kills > 5
    found = load_file(stage.folder / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    for name in ("gate.json", "form.json"):
        assert (stage.folder / name).read_text() == (stage.folder.parents[1] / "whole/residual" / name).read_text()

    choice = json.loads((stage.folder / "form.json").read_text())
    assert [list(rung["errors"]) for rung in choice["choice"]] == [list(TRIED)]
    assert choice["choice"][-1]["kept"] == [choice["network"]]
    expected_network = residual_network(stage.config, choice["network"]).state_dict()
    assert found.keys() == expected_network.keys()
    assert load(stage.config.run_dir).residual is not None


def operations(of, *inputs, **more):
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        of(*inputs, **more)
    return counter.get_total_flops()


@pytest.mark.parametrize("draws", [None, 8])
def test_all_forms_together_take_what_the_settings_steps_take(draws):
    """By counting the operations of networks that are run, for each form that may go on to the end."""
    # Torch doesn't count its attention kernel on a CPU.
    network = SETTINGS["clip"]["network"] | {"attention_levels": 0}
    views = {"clip": SETTINGS["clip"] | {"network": network}}
    views |= {"low_res": [SETTINGS["low_res"][0] | {"network": network}]}
    residual = {"train": {"steps": 900, "batch_size": 2}, "draws": draws}
    config = check_settings(RunConfig, SETTINGS | views | {"residual": residual}, "settings")
    video, batch = config.video, config.residual.train.batch_size
    views = by_scale({1: view_network(config, config.clip), 2: view_network(config, config.low_res[0])})

    @cache
    def of_step(form, frames):
        x = torch.randn(batch, 3, frames, video.height, video.width)
        network, inputs = residual_network(config, form), NetworkInputs(base=x)
        return operations(lambda: network(x, torch.ones(batch), inputs).square().mean().backward())

    @cache
    def of_base(frames):
        x = torch.randn(batch, 3, frames, video.height, video.width)
        with torch.no_grad():
            return operations(make_estimates, config.plan, all_estimates(config.plan), views, x, torch.ones(batch))

    def spent(form, steps):
        predicted = 0 if form != "reads_base" else steps if draws is None else min(steps, draws // batch)
        own = 0.8 * of_step(form, video.num_frames) + 0.2 * of_step(form, video.overlap)
        return steps * own + predicted * (0.8 * of_base(video.num_frames) + 0.2 * of_base(video.overlap))

    whole = spent("reads_base", 900)
    forms = {candidate.form: candidate for candidate in candidates_of(config, config.residual)}
    for last, other in (TRIED, TRIED[::-1]):
        steps = {last: forms[last].optimization.steps, other: forms[other].step_at(1 / 4)}
        assert sum(spent(form, n) for form, n in steps.items()) == pytest.approx(whole, rel=0.04)
    # Alone a form has them all; that which reads the base takes the settings' steps.
    for form in FORMS:
        alone = candidates_of(config, config.residual.model_copy(update={"form": form}))[0].optimization.steps
        assert spent(form, alone) == pytest.approx(whole, rel=0.04) and (form != "reads_base" or alone == 900)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_starts_as_the_clip_network_at_full_length(form):
    model = small_model()
    network = Candidate(model.config, model.config.residual, form).start(model)
    x, sigma = torch.randn(2, 3, 12, 8, 8), torch.tensor([0.5, 3.0])
    inputs = NetworkInputs(base=torch.randn_like(x)) if form == "reads_base" else NetworkInputs()
    torch.testing.assert_close(network(x, sigma, inputs), model.views["clip"](x, sigma), rtol=1e-4, atol=1e-5)


class Unasked(HeldOut):
    """Held-out videos that nothing is measured on."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("form", ["clip", "long_range"])
def test_a_form_that_does_not_read_the_base_never_asks_for_it(form, tmp_path, monkeypatch):
    """Its loss is that of denoising alone, always with fresh noise."""
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    model, shots = small_model(context=0.0, extra_masks=0.0), load_manifest(tmp_path).shots
    monkeypatch.setattr(type(model), "base", lambda *arguments: pytest.fail("the base was asked"))
    train = model.config.residual.train.model_copy(update={"steps": 4, "batch_size": 2})
    residual = model.config.residual.model_copy(update={"train": train, "draws": 2})
    training = Candidate(model.config, residual, form, 0.5).training(model, shots, shots, Unasked())
    batches = [micro[0] for micro in draw_steps(training, 0, 0)]
    assert len({seed for batch in batches for seed in batch.seeds}) == 2 * len(batches) > 2
    batch = batches[0]
    x = batch.x0 + batch.sigma.reshape(-1, 1, 1, 1, 1) * batch.noise
    error = ((training.network(x, batch.sigma) - batch.x0) ** 2).flatten(1).mean(1)
    expected = loss_weight(batch.sigma, model.config.noise.sigma_data) * error
    torch.testing.assert_close(training.loss(training.network, batch), expected, rtol=1e-4, atol=1e-5)


def test_a_dearer_base_is_taken_only_if_it_is_better(tmp_path):
    write_digits(tmp_path, full=4, clips=0, low_res=0, num_frames=12, size=16)
    config = small_model().config
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"sigmas": [5.0]})})

    def scaled(share):
        """The less the better, at so much noise."""
        return lambda x, sigma, inputs=None: share * x

    def taken(cheap, dear, bases=None):
        """The base of a network that is worse than both, so that its gate stays closed."""
        both = {"clip": scaled(cheap), "composed": scaled(dear)}
        return HeldOut(config, both, load_manifest(tmp_path).shots).measure(scaled(2.0), bases).base

    assert taken(0.5, 0.9) == "clip" and taken(0.5, 0.5) == "clip" and taken(0.9, 0.3) == "composed"
    assert taken(0.9, 0.3, ["clip"]) == "clip"
