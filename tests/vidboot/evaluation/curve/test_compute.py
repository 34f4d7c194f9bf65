import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidboot.evaluation.curve.compute import count_operations
from vidboot.evaluation.curve.curve import load_curve_settings
from vidboot.model import residual_network

CONFIG = "configs/learning_curve.yaml"


def test_methods_get_the_same_operations_to_within_a_step():
    compute = count_operations(load_curve_settings(CONFIG, [], quick=False).run)
    assert abs(compute.direct_steps * compute.full_step - compute.views - compute.residual) <= compute.full_step
    assert abs(compute.fine_tuning_steps * compute.full_step - compute.residual) <= compute.full_step
    assert abs(compute.joint_steps * compute.clip_step - compute.views) <= compute.clip_step


def test_operations_are_in_proportion_to_steps():
    once, twice = (
        count_operations(load_curve_settings(CONFIG, [f"run.clip.train.steps={n}"], quick=False).run)
        for n in (100, 200)
    )
    thrice = count_operations(load_curve_settings(CONFIG, ["run.clip.train.steps=300"], quick=False).run)
    assert thrice.views - twice.views == pytest.approx(twice.views - once.views)
    assert twice.views > once.views


def test_a_step_of_the_residual_counts_what_its_frames_take():
    once, twice = (
        load_curve_settings(CONFIG, ["run.residual.draws=10", f"run.residual.train.steps={n}"], quick=False).run
        for n in (10, 20)
    )
    network = residual_network(once)

    def measured(num_frames):
        x = torch.randn(1, 3, num_frames, once.video.height, once.video.width)
        with FlopCounterMode(display=False) as counter:
            network(x, torch.ones(1), base=x).square().mean().backward()
        return counter.get_total_flops()

    # A fifth of the steps are on the overlap of two windows (`test_a_fifth_of_its_steps_…` of the stage).
    ten_steps = 10 * (0.8 * measured(once.video.num_frames) + 0.2 * measured(once.video.overlap))
    counted = count_operations(twice).residual - count_operations(once).residual
    assert counted == pytest.approx(ten_steps, rel=0.03)  # torch doesn't count its attention kernel on a CPU
