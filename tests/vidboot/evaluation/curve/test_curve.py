from types import SimpleNamespace

from vidboot.evaluation.curve.curve import load_curve_settings, make_tasks
from vidboot.evaluation.curve.data import CurveData

CONFIG = "configs/learning_curve.yaml"
LOW_RES = "run.low_res=[{scale: 2, network: {channels: 12}, train: {steps: 10, batch_size: 1}}]"


def paths(folder, *overrides):
    """Where each task's result would be, if the weights of what it needs stayed the same."""
    shots = tuple(SimpleNamespace(id=str(n)) for n in range(8))
    config = load_curve_settings(CONFIG, ["counts=[4]", "seeds=[1]", *overrides], quick=False)
    tasks = make_tasks(config, CurveData(shots, shots, shots, shots))
    for task in tasks[:2]:
        folder.mkdir(exist_ok=True)
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
    assert kept == {"views", "joint"}
    other_views = paths(tmp_path, LOW_RES, "run.clip.train.steps=10")
    assert not any(before[name] == other_views[name] for name in before)
