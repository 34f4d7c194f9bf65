import pytest
from small_model import small_model

from vidboot.data.manifest import load_manifest
from vidboot.distributed import init_distributed
from vidboot.experiments.digits import write_digits
from vidboot.experiments.learning_curve.training import GATED, UNGATED, Patience, full_video_stage, train_best
from vidboot.model.video_model import view_network
from vidboot.training.held_out import HeldOut


class Scripted(HeldOut):
    """Held-out errors in this order; notes how many were asked for."""

    def __init__(self, errors):
        self.errors, self.asked = errors, 0

    def evaluate(self, network):
        self.asked += 1
        error = self.errors[min(self.asked, len(self.errors)) - 1]
        return {UNGATED: error, GATED: error}


@pytest.mark.parametrize(
    ("errors", "asked"),
    [
        ([1.0] + [1.2] * 40, 1 + 2 * 2),  # far off from the first: two of 6 measurements are over a quarter
        ([1.0, 1.2, 0.9] + [1.2] * 40, 1 + 4 + 2),  # it got better once: the count starts anew
        ([1.0] + [1.08] * 40, 1 + 2 * 6),  # trainings of a trained network begin with such a bump
    ],
)
def test_a_training_long_far_off_its_best_is_given_up(tmp_path, errors, asked):
    init_distributed()
    write_digits(tmp_path / "data", full=2, clips=0, low_res=0, num_frames=12, size=16)
    config, shots = small_model().config, load_manifest(tmp_path / "data").shots
    config = config.model_copy(update={"run_dir": tmp_path / "run"})
    optimization = config.clip.train.model_copy(update={"steps": 12, "batch_size": 1})
    held_out = Scripted(errors)
    stage = full_video_stage(config, view_network(config, config.clip), shots, optimization)
    best = train_best(stage, held_out, config, [1e-3, 1e-4], 6)
    assert held_out.asked == asked
    assert best.error[GATED] == min(errors)


def test_a_long_training_ends_when_it_has_not_been_better_for_as_long_as_a_short_one_takes(tmp_path):
    init_distributed()
    write_digits(tmp_path / "data", full=2, clips=0, low_res=0, num_frames=12, size=16)
    config, shots = small_model().config, load_manifest(tmp_path / "data").shots
    config = config.model_copy(update={"run_dir": tmp_path / "run"})
    optimization = config.clip.train.model_copy(update={"steps": 24, "batch_size": 1})
    held_out = Scripted([1.0, 0.9, 0.95, 0.8, *[0.85] * 40])
    stage = full_video_stage(config, view_network(config, config.clip), shots, optimization)
    best = train_best(stage, held_out, config, [1e-3], 3, 8)
    assert held_out.asked == 1 + 3 + 3 and best.error[GATED] == 0.8


@pytest.mark.parametrize(
    "errors, limit, ended_after",
    [([5, 4, 3, 2, 1], 1, None), ([5, 4, 4, 4, 1], 2, 4), ([3, 4, 2, 3, 3, 3], 3, 6), ([1, 2], 3, None)],
)
def test_a_training_ends_when_its_lowest_error_is_long_ago(errors, limit, ended_after, tmp_path):
    write_digits(tmp_path, full=2, clips=0, low_res=0, num_frames=12, size=16)
    model, shots = small_model(), load_manifest(tmp_path).shots
    training = full_video_stage(model.config, model.views["clip"], shots, model.config.residual.train)
    found = iter(errors)
    object.__setattr__(training, "evaluate", lambda network: {"error": next(found), "ungated": 0.0})
    patient, measured = Patience.of(training, limit), 0
    while measured < len(errors) and not patient.should_stop():
        patient.evaluate(model.views["clip"])
        measured += 1
    assert (measured if patient.should_stop() else None) == ended_after
