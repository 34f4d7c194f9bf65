from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidboot.experiments.learning_curve.compute import count_operations
from vidboot.experiments.learning_curve.curve import load_curve_settings
from vidboot.experiments.learning_curve.rivals.msm import AggregatedScores
from vidboot.method.calibration import all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.video_model import residual_network, view_network

CONFIG = Path("configs/learning_curve.yaml")


def test_methods_get_the_same_operations_to_within_a_step():
    compute = count_operations(load_curve_settings(CONFIG, [], quick=False))
    assert abs(compute.direct_steps * compute.full_step - compute.views - compute.residual) <= compute.full_step
    assert abs(compute.fine_tuning_steps * compute.full_step - compute.residual) <= compute.full_step
    assert abs(compute.joint_steps * compute.clip_step - compute.views) <= compute.clip_step


def test_operations_are_in_proportion_to_steps():
    once, twice = (
        count_operations(load_curve_settings(CONFIG, [f"run.clip.train.steps={n}"], quick=False)) for n in (100, 200)
    )
    thrice = count_operations(load_curve_settings(CONFIG, ["run.clip.train.steps=300"], quick=False))
    assert thrice.views - twice.views == pytest.approx(twice.views - once.views)
    assert twice.views > once.views


def counted(**settings):
    overrides = [f"run.{key.replace('__', '.')}={value}" for key, value in settings.items()]
    return count_operations(load_curve_settings(CONFIG, overrides, quick=False)).residual


def operations(of, *inputs, **more):
    with FlopCounterMode(display=False) as counter:
        of(*inputs, **more)
    return counter.get_total_flops()


# Torch doesn't count its attention kernel on a CPU, so what is run there comes out a little lower than what is counted.
SEEN = 0.03


def test_a_step_of_the_residual_counts_what_its_frames_take():
    run = load_curve_settings(CONFIG, [], quick=False).run
    network = residual_network(run)

    def a_step(num_frames):
        x = torch.randn(1, 3, num_frames, run.video.height, run.video.width)
        return operations(lambda: network(x, torch.ones(1), NetworkInputs(base=x)).square().mean().backward())

    # A fifth of the steps are on the overlap of two windows (`test_a_fifth_of_its_steps_…` of the stage).
    ten_steps = 10 * (0.8 * a_step(run.video.num_frames) + 0.2 * a_step(run.video.overlap))
    more = counted(residual__draws=10, residual__train__steps=20) - counted(
        residual__draws=10, residual__train__steps=10
    )
    assert more == pytest.approx(ten_steps, rel=SEEN)


def test_predictions_of_the_base_count_for_its_calibration_and_for_each_draw():
    run = load_curve_settings(CONFIG, [], quick=False).run
    networks = by_scale({1: view_network(run, run.clip).requires_grad_(False)})

    def a_prediction(num_frames):
        x = torch.randn(1, 3, num_frames, run.video.height, run.video.width)
        return operations(make_estimates, run.plan, all_estimates(run.plan), networks, x, torch.ones(1))

    whole, short = a_prediction(run.video.num_frames), a_prediction(run.video.overlap)
    more = counted(residual__draws=20) - counted(residual__draws=10)
    assert more == pytest.approx(10 * (0.8 * whole + 0.2 * short), rel=SEEN)
    # Each of the videos, or as many draws of fewer, at each noise level.
    levels = len(run.calibration.sigmas)
    more = counted(calibration__num_draws=50) - counted(calibration__num_draws=40)
    assert more == pytest.approx(10 * levels * whole, rel=SEEN)
    more = counted(calibration__num_videos=50) - counted(calibration__num_videos=40)
    assert more == pytest.approx(10 * levels * whole, rel=SEEN)


@pytest.mark.parametrize("stage", ["clip", "residual"])
def test_saving_memory_does_not_change_how_long_the_rivals_train(stage):
    """Activations that are computed again save memory; nobody learns more from them."""
    settings = f"run.{stage}.train.activation_checkpointing=true"
    plain, saving = (count_operations(load_curve_settings(CONFIG, more, quick=False)) for more in ([], [settings]))
    assert saving == plain


def of_training(config):
    """Operations of all training without the published rivals, and of those two that train."""
    compute, cells, rates = count_operations(config), sum(config.seeds), len(config.rates)
    after = cells * rates * compute.residual
    direct = cells * (compute.views + compute.residual)
    # Both ways of fine-tuning, and the residual.
    return compute.views + direct + 3 * after, 2 * (compute.views + after)


def test_published_rivals_bring_two_fifths_more_operations_and_to_a_quick_look_less_than_a_tenth():
    """The figures of docs/is-it-worth-it.md."""
    rest, rivals = of_training(load_curve_settings(CONFIG, [], quick=False))
    assert rivals / rest == pytest.approx(0.375, abs=0.005)
    config = load_curve_settings(CONFIG, [], quick=True)
    assert config.rivals == ["msm"]
    run = config.run
    with torch.device("meta"):
        network, x = view_network(run, run.clip), torch.empty(1, 3, run.video.num_frames, 24, 24)
        denoise = AggregatedScores(network, lambda y, sigma: y, run.clip.num_frames, config.full_length.scale)
        with torch.no_grad():
            once = operations(denoise, x, torch.ones(1)) + operations(network, x, torch.ones(1))
    videos = run.evaluation.num_videos + config.test_videos
    assert videos * len(run.evaluation.sigmas) * once / of_training(config)[0] == pytest.approx(0.069, abs=0.003)
