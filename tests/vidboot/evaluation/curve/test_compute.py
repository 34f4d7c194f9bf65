import pytest

from vidboot.evaluation.curve.compute import count_operations
from vidboot.evaluation.curve.curve import load_curve_settings

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
