"""Runs that go on: which shots are for what, and which settings may have changed."""

import json
from dataclasses import replace

import pytest
import torch

from vidboot.config import RunConfig
from vidboot.data.manifest import Manifest, load_manifest
from vidboot.data.split import split_shots
from vidboot.errors import UserError
from vidboot.experiments.digits import write_digits
from vidboot.method.calibration import Calibration
from vidboot.model.run_folder import save_calibration, save_weights
from vidboot.model.video_model import view_network
from vidboot.settings import load_settings
from vidboot.training import run as module
from vidboot.training.run import check_run, run_split, train
from vidboot.training.stage_settings import check_same_settings, save_settings
from vidboot.training.stages import stages_of

SMALL = ["video={num_frames: 12, height: 16, width: 16, overlap: 4}", "data.holdout=0.35"]


@pytest.fixture
def load(tiny_config):
    """The tiny run with changes."""
    return lambda *overrides: load_settings(RunConfig, tiny_config, overrides)


@pytest.fixture
def alone(monkeypatch):
    """No distributed environment of another test."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def stage(config, name):
    """The stage of this name."""
    return stages_of(config, name)[0]


def save(config, name):
    """Note that the stage was begun with these settings."""
    save_settings(stage(config, name).settings_path, stage(config, name).settings())


def check(config, name):
    """Refuse other settings than those that the stage was begun with."""
    check_same_settings(stage(config, name).settings_path, stage(config, name).settings())


def test_a_run_without_any_full_video_trains_to_the_end(load, alone, tmp_path):
    write_digits(tmp_path / "data", full=0, clips=20, low_res=20, num_frames=12, clip_frames=4, size=16)
    steps = ["clip.train.steps=2", "low_res.0.train.steps=2", "residual=null", "calibration=null"]
    config = load(*SMALL, *steps, f"data.manifest={tmp_path / 'data'}")
    train(config)
    rows = json.loads((config.run_dir / "results.json").read_text())["rows"]
    assert list(rows) == ["clip", "low_res_2"]
    assert all(row["videos"] == 2 for row in rows.values())
    split = json.loads((config.run_dir / "split.json").read_text())
    views = {shot.id: shot.views for shot in load_manifest(tmp_path / "data")}
    for part in ("validation", "test"):
        assert {view for shot in split[part] for view in views[shot]} == {"clip", "low_res"}


@pytest.mark.parametrize(
    "change",
    [
        "data.classes=[b,a]",
        "data.horizontal_flip=true",
        "data.frame_strides=[1,2]",
        "data.label_dropout=0.5",
        "data.holdout=0.3",
        "deepspeed.precision=bf16",
    ],
)
def test_a_stage_does_not_go_on_with_other_settings(load, change):
    before = load("data.classes=[a,b]")
    for name in ("clip", "residual"):
        save(before, name)
        check(load("data.classes=[a,b]", "data.num_workers=3", "data.manifest=moved"), name)
        with pytest.raises(UserError, match=change.split("=")[0]):
            check(load("data.classes=[a,b]", change), name)


def test_the_noise_levels_to_choose_by_are_the_residuals_alone(load):
    other = load("evaluation.sigmas=[0.5]")
    for name in ("clip", "residual"):
        save(load(), name)
    check(other, "clip")
    with pytest.raises(UserError, match=r"evaluation\.sigmas"):
        check(other, "residual")


def test_a_calibration_is_fitted_again_for_other_settings_or_weights(load):
    config = load()
    for name, view in config.views.items():
        save_weights(config.run_dir / name, view_network(config, view))
    save_calibration(config.run_dir, Calibration.counting(config.plan))
    assert not stage(config, "calibration").is_finished()  # it isn't known what it was fitted for
    save(config, "calibration")
    save(config, "residual")
    assert stage(config, "calibration").is_finished()
    assert not stage(load("calibration.num_videos=1"), "calibration").is_finished()
    torch.manual_seed(1)
    save_weights(config.run_dir / "clip", view_network(config, config.clip))
    assert not stage(config, "calibration").is_finished()
    with pytest.raises(UserError, match=r"weights\.clip"):  # and the residual stands on weights that are gone
        check(config, "residual")


def test_shots_stay_what_they_are_for_once_a_stage_has_begun(load, manifest_dir, monkeypatch):
    everything = load_manifest(manifest_dir)
    full = everything.supplying("full")
    seen = [everything]
    monkeypatch.setattr(module, "load_manifest", lambda folder: seen[0])
    config = load()
    first = run_split(config)
    config.run_dir.mkdir()
    (config.run_dir / "split.json").write_text(json.dumps(module._split_record(config, first)))
    assert run_split(load("data.holdout=0.6")) == split_shots(everything, 0.6)  # nothing is trained yet
    save(config, "clip")
    more = [replace(shot, id=f"{n}{shot.id}", source="more") for n in range(8) for shot in full]
    seen[0] = Manifest(everything.root, [*more, *everything])
    again = run_split(config)
    assert (again.validation, again.test) == (first.validation, first.test)
    assert len(again.train) == len(first.train) + len(more)
    seen[0] = Manifest(everything.root, [shot for shot in everything if shot != first.train[0]])
    assert first.train[0].id in module._split_record(config, run_split(config))["train"]
    seen[0] = Manifest(everything.root, more)
    with pytest.raises(UserError, match="trained on other videos"):
        run_split(config)


def test_held_out_full_videos_that_are_too_short_stop_a_run_at_its_start(load, manifest_dir):
    config = load()
    split = split_shots(load_manifest(manifest_dir), 0.35)
    short = tuple(replace(shot, num_frames=11) for shot in split.validation)
    masked = tuple(replace(shot, mask_path="absent.npz") for shot in split.validation)
    for validation, says in ((short, "12 frames"), (masked, "without a masked pixel")):
        for only in (None, "calibration", "residual"):
            with pytest.raises(UserError, match=says):
                check_run(config, replace(split, validation=validation), only)
        check_run(config, replace(split, validation=validation), "clip")
