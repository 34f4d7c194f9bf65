from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidboot.data.manifest import Shot, load_manifest, load_rows, write_manifest
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.split import split_shots
from vidboot.errors import UserError
from vidboot.experiments.digits import write_digits
from vidboot.experiments.learning_curve import curve as module
from vidboot.experiments.learning_curve.curve import load_curve_settings, make_tasks
from vidboot.experiments.learning_curve.data import CurveData, load_data
from vidboot.experiments.learning_curve.tasks import run_tasks

CONFIG = Path("configs/learning_curve.yaml")
LOW_RES = "run.low_res=[{scale: 2, network: {channels: 12}, train: {steps: 10, batch_size: 1}}]"


def shot(number):
    """A shot of this id."""
    nothing = dict.fromkeys(("reason", "mask_path", "label"))
    size = {"start": 0, "end": 1, "num_frames": 1, "fps": 24.0, "height": 1, "width": 1, "crop": (0, 0, 1, 1)}
    rest = {"source": "", "path": "", "views": frozenset(), "verdict": "clean", "root": Path()}
    return Shot(id=str(number), **rest, **size, **nothing)


def paths(folder, *overrides):
    """Where each task's result would be, if the weights of what it needs stayed the same."""
    shots = tuple(shot(n) for n in range(8))
    config = load_curve_settings(CONFIG, ["counts=[4]", "seeds=[1]", *overrides], quick=False)
    tasks = make_tasks(config, CurveData(shots, shots, shots, shots))
    folder.mkdir(exist_ok=True)
    for task in tasks:
        if "count" not in task.settings:
            task.path(folder).write_text('{"weights": "the same"}')
    return {task.name: task.path(folder).name for task in tasks}


def test_a_clip_network_that_learns_from_all_data_has_no_like_to_be_compared_with(tmp_path):
    alone, beside = paths(tmp_path), paths(tmp_path, LOW_RES)
    assert "joint_fine_tuned-n4-s0" in beside
    assert alone.keys() == {name for name in beside if not name.startswith("joint")}


def test_the_views_are_trained_again_only_for_what_they_depend_on(tmp_path):
    before = paths(tmp_path, LOW_RES)
    other_residual = paths(tmp_path, LOW_RES, "run.residual.train.steps=10")
    kept = {name for name in before if before[name] == other_residual[name]}
    assert kept == {"views", "joint", "ambient", "diffusion_forcing"}
    other_views = paths(tmp_path, LOW_RES, "run.clip.train.steps=10")
    assert not any(before[name] == other_views[name] for name in before)


def test_the_samplers_steps_count_only_where_something_is_generated(tmp_path):
    few, many = (paths(tmp_path, "samples=2", f"run.log.sample_steps={steps}") for steps in (3, 5))
    assert few["views"] == many["views"] and few["fixed"] != many["fixed"]
    few, many = (paths(tmp_path, "samples=0", f"run.log.sample_steps={steps}") for steps in (3, 5))
    assert few == many


def test_other_data_never_meets_the_weights_of_before(tmp_path, monkeypatch):
    """`train` as it is: what is in the folder already is finished."""

    def train(run, only):
        path = run.run_dir / only / "model.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True)
            path.write_text(current)

    monkeypatch.setattr(module, "train", train)
    config = load_curve_settings(CONFIG, [f"output={tmp_path}", "counts=[4]", "seeds=[1]"], quick=False)
    full, found = tuple(shot(n) for n in range(8)), {}
    for current in ("old", "new"):
        views = make_tasks(config, CurveData((shot(current),), full, full, full))[0]
        run_tasks([views], tmp_path / "cells")
        found[current] = views.result(tmp_path / "cells")
        views.check(found[current])
    assert found["old"]["weights"] != found["new"]["weights"]
    next(tmp_path.glob("views-*/clip/model.safetensors")).write_text("damaged")
    with pytest.raises(UserError, match="delete that folder"):
        for current in ("old", "new"):
            make_tasks(config, CurveData((shot(current),), full, full, full))[0].check(found[current])


def test_each_set_of_settings_makes_digits_of_its_own(tmp_path):
    def load(clips, seed, count):
        digits = f"digits={{clips: {clips}, low_res: 1, seed: {seed}}}"
        settings = [f"output={tmp_path}", digits, f"counts=[{count}]", "seeds=[1]", "test_videos=1"]
        settings += ["run.evaluation.num_videos=1", "run.video.num_frames=12"]
        return load_data(load_curve_settings(CONFIG, settings, quick=False))

    first, larger, other = load(2, 0, 1), load(5, 0, 3), load(2, 4, 1)
    held_out = 8  # full videos beside the partial data, of which the split may leave none to train on
    for data, clips, count in ((first, 2, 1), (larger, 5, 3), (other, 2, 1)):
        assert len([shot for shot in data.partial if shot.views == {"clip"}]) == clips
        assert len(data.full) == count and len(data.partial) <= held_out + clips + 1
    assert {shot.id for shot in first.full} < {shot.id for shot in larger.full}
    assert not {shot.id for shot in first.full} & {shot.id for shot in other.full}
    assert load(2, 0, 1).manifest == first.manifest != other.manifest


def test_digits_take_their_size(tmp_path):
    with pytest.raises(UserError, match=r"16 pixels, got run\.video\.height = 12"):
        load_curve_settings(CONFIG, ["run.video.height=12", "run.video.width=12"], quick=False)


def test_full_videos_without_a_clean_window_are_not_drawn(tmp_path):
    """What is masked throughout can't be calibrated on."""
    write_digits(tmp_path / "data", full=12, clips=0, low_res=0, num_frames=12)
    rows = list(load_rows(tmp_path / "data"))
    split = split_shots(load_manifest(tmp_path / "data"), 0.4)
    hidden = split.train[0].id
    MaskTrack(12, 24, 24, [Event(0, 12, np.ones((24, 24), bool))]).save(tmp_path / "data" / "mask.npz")
    write_manifest(tmp_path / "data", [replace(row, mask="mask.npz" if row.id == hidden else None) for row in rows])
    settings = ["digits=null", f"run.data.manifest={tmp_path / 'data'}", "run.data.holdout=0.4", "counts=[1]"]
    settings += ["seeds=[1]", "run.video.num_frames=12"]
    data = load_data(load_curve_settings(CONFIG, settings, quick=False))
    assert {shot.id for shot in data.full} == {shot.id for shot in split.train} - {hidden}


@pytest.mark.parametrize("view", ["clip", "low_res.0"])
def test_all_networks_of_a_curve_start_from_nothing(view):
    with pytest.raises(UserError, match="leave start_from out"):
        load_curve_settings(CONFIG, [LOW_RES, f"run.{view}.start_from=runs/other"], quick=False)


def test_special_cases_are_tasks_beside_the_others(tmp_path):
    plain, more = paths(tmp_path), paths(tmp_path, "special_cases=true")
    assert plain.items() < more.items()
    forms = ("clip", "long_range", "reads_base")
    assert more.keys() - plain.keys() == {f"special_case-{form}-n4-s0" for form in forms}


def test_a_longer_protocol_is_another_result_of_the_same_views(tmp_path):
    equal, longer = paths(tmp_path), paths(tmp_path, "protocol=best_stopping_point")
    same = {name for name in equal if equal[name] == longer[name]}
    assert same == {"views", "fixed", "msm", "ambient", "diffusion_forcing"}


def test_rivals_are_tasks_beside_the_others(tmp_path):
    without, some = paths(tmp_path, "rivals=[]"), paths(tmp_path, "rivals=[ambient,msm]")
    assert without.items() < some.items() < paths(tmp_path).items()
    assert some.keys() - without.keys() == {"ambient", "ambient-n4-s0", "msm"}


def test_a_quick_look_trains_no_other_network_on_partial_data():
    quick = load_curve_settings(CONFIG, [], quick=True)
    tasks = make_tasks(quick, CurveData(*[tuple(shot(n) for n in range(16))] * 4))
    assert [task.name for task in tasks if "count" not in task.settings] == ["views"]
    assert "msm" in {task.name for task in tasks}
