"""The interface of the stages: their order, what they say of themselves, what they refuse."""

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidboot.config import RunConfig
from vidboot.data.manifest import load_manifest
from vidboot.data.split import split_shots
from vidboot.errors import UserError
from vidboot.method.calibration import Calibration, all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.run_folder import save_calibration, save_weights
from vidboot.model.video_model import residual_network, view_network
from vidboot.settings import load_settings
from vidboot.training.plan import print_plan
from vidboot.training.stages import stages_of

NAMES = ["clip", "low_res_2", "calibration", "residual"]
WITHOUT_ATTENTION = ["clip.network.attention_levels=0", "low_res.0.network.attention_levels=0"]
"""Torch doesn't count its attention kernel on a CPU, where the tests run a network to count its operations."""


@pytest.fixture
def load(tiny_config):
    """The tiny run with changes."""
    return lambda *overrides: load_settings(RunConfig, tiny_config, overrides)


def stage(config, name):
    """The stage of this name."""
    (found,) = stages_of(config, name)
    return found


def operations(of, *inputs, **more):
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        of(*inputs, **more)
    return counter.get_total_flops()


def test_stages_are_views_then_calibration_then_residual(load):
    more = "low_res=[{scale: 2, network: {channels: 8, multipliers: [1]}, train: {steps: 1, batch_size: 1}}]"
    assert [s.name for s in stages_of(load())] == NAMES
    assert [s.name for s in stages_of(load(more, "calibration=null"))] == ["clip", "low_res_2", "residual"]
    assert [s.name for s in stages_of(load("low_res=[]", "residual=null"))] == ["clip", "calibration"]
    assert [s.name for name in NAMES for s in stages_of(load(), name)] == NAMES


@pytest.mark.parametrize("absent", ["residuals", "calibration", ""])
def test_an_unknown_stage_is_refused_with_those_that_there_are(load, absent):
    with pytest.raises(UserError, match=f"no stage '{absent}' .* stages: clip, low_res_2, residual"):
        stages_of(load("calibration=null"), absent)


def test_each_keeps_its_own_folder_and_seed(load):
    config = load()
    assert [s.folder for s in stages_of(config)] == [config.run_dir / name for name in NAMES]
    clip, low_res = (stage(config, name) for name in NAMES[:2])
    assert clip.seed != low_res.seed and (clip.scale, low_res.scale) == (1, 2)


def test_a_network_stage_goes_from_to_do_over_its_checkpoints_to_finished(load):
    clip = stage(load(), "clip")
    assert clip.state() == "to do" and not clip.is_finished()
    for step in (2, 11):
        (clip.folder / "checkpoints" / f"step-{step:07d}").mkdir(parents=True)
    (clip.folder / "checkpoints" / ".partial").mkdir()  # what is being written does not count
    assert clip.state() == "goes on from step 11" and not clip.is_finished()
    save_weights(clip.folder, clip.network())
    assert clip.state() == "finished" and clip.is_finished()
    assert stage(load(), "residual").state() == "to do"


def test_a_calibration_is_finished_once_its_weights_and_settings_are_stored(load):
    config = load()
    for name, view in config.views.items():
        save_weights(config.run_dir / name, view_network(config, view))
    calibration = stage(config, "calibration")
    save_calibration(config.run_dir, Calibration.counting(config.plan))
    assert calibration.state() == "to do"
    calibration.save_settings()
    assert calibration.state() == "finished"


def test_the_cost_of_a_view_is_that_of_its_longest_videos(load):
    config = load(*WITHOUT_ATTENTION)
    clip, low_res = (stage(config, name) for name in NAMES[:2])
    # The clip network learns from low-resolution videos of all 12 frames at full size too.
    for s, shape in ((clip, (4, 3, 12, 8, 16)), (low_res, (2, 3, 12, 4, 8))):
        network, x = s.network(), torch.randn(*shape)
        inputs = NetworkInputs(observed_mask=torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool))
        step = operations(lambda n=network, x=x, i=inputs: n(x, torch.ones(len(x)), i).square().mean().backward())
        assert s.cost().flops == step
        assert s.cost().base_flops == 0 and not s.cost().pulled
        assert s.cost().parameters == sum(p.numel() for p in network.parameters())
    assert clip.cost(4).flops < clip.cost().flops / 2


def test_the_cost_of_the_residual_includes_the_frozen_base(load):
    config = load(*WITHOUT_ATTENTION)
    views = [view_network(config, view).requires_grad_(False) for view in config.views.values()]
    network, x = residual_network(config), torch.randn(2, 3, 12, 8, 16)
    step = operations(lambda: network(x, torch.ones(2), NetworkInputs(base=x)).square().mean().backward())
    networks = by_scale(dict(zip((1, 2), views, strict=True)))
    base = operations(make_estimates, config.plan, all_estimates(config.plan), networks, x, torch.ones(2))
    cost = stage(config, "residual").cost()
    assert cost.flops == pytest.approx(step, rel=0.05)  # it has one layer of attention over the whole length
    assert cost.base_flops == base
    assert cost.frozen == sum(p.numel() * p.element_size() for view in views for p in view.parameters())
    assert cost.pulled and not cost.base_once
    repeated = stage(load("residual.draws=4", "residual.pull=0", *WITHOUT_ATTENTION), "residual").cost()
    assert repeated.base_once and not repeated.pulled
    # The pull's start is 4 bytes for each weight.
    assert cost.checkpoint_bytes() - repeated.checkpoint_bytes() == 4 * cost.parameters


def test_a_calibration_trains_nothing_and_so_costs_no_step(load):
    assert stage(load(), "calibration").cost() is None


def test_outlines_tell_size_data_and_steps(load, manifest_dir):
    config, shots = load(), load_manifest(manifest_dir)
    split = split_shots(shots, 0.35)
    clip = stage(config, "clip").outline(split)
    own = [shot for shot in split.train if "clip" in shot.views and shot.num_frames >= 4]
    assert clip.data == f"{len(own)} shots, {sum(shot.num_frames for shot in own)} frames"
    weights = sum(p.numel() for p in view_network(config, config.clip).parameters())
    assert (clip.parameters, clip.steps) == (f"{weights / 1e6:.2f} M", "6 × 4")
    residual = stage(load("data.max_full_videos=2"), "residual").outline(split)
    assert residual.data.startswith("2 shots, ") and residual.steps == "4 × 2"
    assert stage(config, "residual").outline(None).data == "unknown"
    calibration = stage(config, "calibration").outline(None)
    assert (calibration.parameters, calibration.steps) == ("", "") and "full videos" in calibration.data


def test_the_plan_has_a_row_for_each_stage_and_a_cost_for_each_that_trains(load, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_plan(load("residual.draws=4"))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in rows if row and row[0] in NAMES]
    assert [row[0] for row in rows] == [*NAMES, "clip", "low_res_2", "residual"]
    plan, costs = rows[:4], rows[4:]
    # Clips have 4 frames and overlap by 2, long videos 12; windows of a longer video overlap by 4.
    assert [row[2] for row in plan] == ["12, 4, 2", "12, 4, 2", "12", "12, 4"]
    assert [row[4] for row in plan] == ["6 × 4", "4 × 2", "", "4 × 2"]
    assert {row[5] for row in plan} == {"to do"}
    assert all(re.fullmatch(r"[0-9.]+ / [0-9.]+ / [0-9.]+ / [0-9.]+", row[3]) for row in costs)
    assert ["once" in row[1] for row in costs] == [False, False, True]


def test_a_view_that_no_shot_supplies_long_enough_is_refused(load, manifest_dir):
    split = split_shots(load_manifest(manifest_dir), 0.35)
    stage(load(), "clip").check(split)
    with pytest.raises(UserError, match=r"nothing to train clip on: .* none with 3001 frames"):
        stage(load("data.frame_strides=[1,1000]"), "clip").check(split)


def test_a_residual_that_chooses_its_form_says_how_far_each_may_go_and_is(load, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    config = load("residual.form=auto", "residual.train.steps=90")
    residual = stage(config, "residual")
    steps = {candidate.name: candidate.optimization.steps for candidate in residual.candidates}
    assert residual.outline(None).steps == ", ".join(f"{name} {count}" for name, count in steps.items()) + " × 2"
    # The base's predictions take half of the operations or more.
    assert steps["clip"] > 1.5 * steps["reads_base"] and steps["reads_base"] < 90
    (residual.folder / "candidates" / "clip" / "checkpoints" / "step-0000007").mkdir(parents=True)
    assert residual.state() == "goes on from step 7 of clip"
    alone = stage(load("residual.form=reads_base", "residual.train.steps=90"), "residual")
    assert residual.total_flops() == alone.total_flops() and alone.outline(None).steps == "90 × 2"
    print_plan(config)
    shown = capsys.readouterr().out
    assert "held-out error says which goes on" in shown
    disks = [line.split("│")[-2].strip() for line in shown.splitlines() if "for the base" in line]
    assert float(disks[0]) == pytest.approx(2 * 3 * residual.cost().checkpoint_bytes() / 1e9, abs=0.005)
