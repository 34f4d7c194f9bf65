from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from small_model import small_model
from torch.utils.data import Dataset

from vidboot.config import FullLengthConfig, NoiseConfig
from vidboot.data.manifest import load_manifest
from vidboot.data.split import Split
from vidboot.experiments.digits import write_digits
from vidboot.experiments.learning_curve.compute import mean_step
from vidboot.experiments.learning_curve.curve import load_curve_settings
from vidboot.experiments.learning_curve.data import CurveData
from vidboot.experiments.learning_curve.rivals import ambient as module
from vidboot.experiments.learning_curve.rivals.ambient import (
    FULL_SHARE,
    Ambient,
    FullAndPartial,
    admitting,
    ambient_loss,
    as_if_good,
    clips_and_enlarged,
    enlarged,
    levels_above,
)
from vidboot.experiments.learning_curve.rivals.classifier import Classification
from vidboot.experiments.learning_curve.rows import Methods
from vidboot.method.edm import add_noise, loss_weight
from vidboot.method.views import pool, unpool
from vidboot.training.batch import Batch
from vidboot.training.low_res_loss import view_loss
from vidboot.training.view_stage import ViewStage

NOISE = NoiseConfig(sigma_min=0.02, sigma_max=80.0, p_mean=-0.6, p_std=1.6)


def batch(factor=2, masked=False, videos=None):
    generator = torch.Generator().manual_seed(3)
    shape = (2, 3, 12, 8, 8)
    x0, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    mask = torch.ones(2, 1, 12, 8, 8, dtype=torch.bool)
    if masked:
        mask[0, :, :, 3, 5] = False
    x0 = x0 if videos is None else videos
    return Batch(x0, mask, mask, torch.tensor([0.3, 4.0]), noise, [1, 2], ["a", "b"], low_res_factor=factor)


@pytest.mark.parametrize("sigma_min", [0.1, 0.7, 5.0])
def test_levels_of_admitted_videos_are_those_that_a_draw_and_a_refusal_leave(sigma_min):
    """The paper's sampler draws a level first, and passes over videos that it does not admit."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([NOISE.sample(generator) for _ in range(20000)])
    found = levels_above(levels, NOISE, sigma_min)
    assert float(found.min()) >= sigma_min and float(found.max()) <= NOISE.sigma_max
    fresh = torch.tensor([NOISE.sample(generator) for _ in range(20000)])
    assert ks_2samp(found.numpy(), fresh[fresh > sigma_min].numpy()).pvalue > 1e-3


def test_an_enlarged_video_knows_no_more_than_the_small_one():
    video, other = batch().x0, torch.randn(2, 3, 12, 8, 8, generator=torch.Generator().manual_seed(7))
    finer = video + other - unpool(pool(other, 2), 2)
    torch.testing.assert_close(enlarged(finer, 2), enlarged(video, 2))
    constant = torch.full_like(video, 0.3)
    torch.testing.assert_close(enlarged(constant, 2), constant)
    # A ramp is a ramp again, but at the borders.
    ramp = torch.arange(8.0).expand(1, 1, 1, 8, 8)
    torch.testing.assert_close(enlarged(ramp, 2)[..., 1:-1], ramp[..., 1:-1])


def test_poor_videos_count_as_good_ones_above_their_level():
    network, poor = small_model().views["clip"], batch()
    sigma = levels_above(poor.sigma, NOISE, 1.0)
    x0 = enlarged(poor.x0, 2)
    x0_hat = network(add_noise(x0, sigma, poor.noise), sigma)
    expected = loss_weight(sigma, 0.5) * (x0_hat - x0).square().flatten(1).mean(1)
    torch.testing.assert_close(ambient_loss(NOISE, 1.0)(network, poor), expected)


def test_good_videos_count_at_every_level():
    network, good = small_model().views["clip"], batch(factor=1)
    torch.testing.assert_close(ambient_loss(NOISE, 1.0)(network, good), view_loss(0.5)(network, good))


def test_a_block_of_which_a_pixel_is_hidden_is_left_out_of_the_loss():
    """Its mean has changed. What an enlarged video shows there has no effect, not even NaN."""
    network, some = small_model().views["clip"], batch(masked=True)
    asked = as_if_good(some, NOISE, 1.0)
    expected = torch.ones_like(asked.loss_mask)
    expected[0, :, :, 2:4, 4:6] = False
    assert torch.equal(asked.loss_mask, expected) and torch.equal(asked.observed_mask, expected)
    hidden = torch.where(expected, asked.x0, torch.full_like(asked.x0, torch.nan))
    found = [view_loss(0.5)(network, replace(asked, x0=x0)) for x0 in (asked.x0, hidden)]
    assert torch.equal(*found) and bool(found[0].isfinite().all())


def test_of_gaussian_videos_both_targets_have_one_regression_and_x0_the_smaller_variance():
    """The paper's target x_min at σ_min, turned into one for x0, and x0 itself: slopes on x_σ, in closed form.

    Both estimate x + σ² ∇ log p_σ(x); from x_min the score is (E[x_min | x] − x) / (σ² − σ_min²).
    """
    generator = torch.Generator().manual_seed(0)
    variance, sigma_min, sigma = 0.25, 0.8, 1.5
    x0, early, late = (torch.randn(400_000, generator=generator, dtype=torch.float64) for _ in range(3))
    x0 = variance**0.5 * x0
    x_min = x0 + sigma_min * early
    x = x_min + (sigma**2 - sigma_min**2) ** 0.5 * late
    of_paper = x + sigma**2 * (x_min - x) / (sigma**2 - sigma_min**2)
    exact = variance / (variance + sigma**2)
    slopes = [float((target @ x) / (x @ x)) for target in (of_paper, x0)]
    assert slopes == pytest.approx([exact, exact], abs=5e-3)
    spread = [float((target - exact * x).var()) for target in (of_paper, x0)]
    assert spread[1] == pytest.approx(variance - exact * variance, rel=0.01) and spread[0] > 2 * spread[1]


def test_poor_videos_come_up_as_often_as_their_levels_do():
    config = small_model().config
    clip = config.clip.model_copy(update={"full_length": FullLengthConfig(share=0.4, scale=2)})
    config = config.model_copy(update={"clip": clip})
    generator = torch.Generator().manual_seed(0)
    levels = np.array([config.noise.sample(generator) for _ in range(20000)])
    found = admitting(config, 1.0).clip.full_length
    assert found.scale == 2 and found.share == pytest.approx(0.4 * (levels > 1.0).mean(), rel=0.05)
    assert admitting(config, float("inf")).clip.full_length is None
    assert admitting(config, 1e-9).clip.full_length.share == pytest.approx(0.4)


def test_half_of_the_steps_are_on_full_videos_and_batches_are_of_one_kind():
    class Kind(Dataset):
        def __init__(self, name):
            self.name = name

        def __getitem__(self, index):
            return {"kind": self.name}

    mixed = FullAndPartial(Kind("full"), Kind("partial"), 5, 4)
    steps = [{mixed[4 * step + n]["kind"] for n in range(4)} for step in range(500)]
    assert all(len(kinds) == 1 for kinds in steps)
    assert Counter(next(iter(kinds)) for kinds in steps)["full"] / 500 == pytest.approx(FULL_SHARE, abs=0.07)


def test_clips_are_compared_with_enlarged_windows_of_their_length(tmp_path):
    write_digits(tmp_path, full=0, clips=3, low_res=3, num_frames=12, clip_frames=4, size=16, digit_size=16)
    config, shots = small_model().config, load_manifest(tmp_path).shots
    clip = config.clip.model_copy(update={"full_length": FullLengthConfig(share=0.4, scale=2)})
    config = config.model_copy(update={"clip": clip})
    good, poor = clips_and_enlarged(config, Split(tuple(shots), (), ()))
    for _ in range(2):
        clips, low = good(), poor()
        assert clips.x0.shape == low.x0.shape == (8, 3, 4, 16, 16)
        assert all(shot.startswith("clip/") for shot in clips.shots)
        assert all(shot.startswith("low_res/") for shot in low.shots)


CONFIG = Path("configs/learning_curve.yaml")


class StartedError(Exception):
    """A training would start now."""


@pytest.mark.parametrize("sigma_min", [0.3, 3.0, float("inf")])
def test_classifier_and_networks_take_the_operations_of_the_others(sigma_min, tmp_path, monkeypatch):
    config = load_curve_settings(CONFIG, [], quick=False)
    methods = Methods(config, CurveData((), (), (), ()), tmp_path, tmp_path)
    taken = 0.04 * methods.compute.views
    classified = Classification(sigma_min, (), (), taken)
    asked = {}

    def classify(good, poor, noise, operations):
        asked["classifier"] = operations
        return classified

    def start(run, steps):
        asked["partial"] = steps * mean_step(ViewStage(run, run.clip))
        raise StartedError

    monkeypatch.setattr(module, "clips_and_enlarged", lambda run, split: (None, None))
    monkeypatch.setattr(module, "classify", classify)
    monkeypatch.setattr(methods, "on_partial_data", start)
    with pytest.raises(StartedError):
        Ambient(methods, tmp_path).train_on_partial_data(tmp_path)
    assert asked["classifier"] <= 0.05 * methods.compute.views
    assert asked["partial"] + taken == pytest.approx(methods.compute.views, rel=1e-3)
    # Then: half of the steps on full videos, the others on what the level admits.
    run = admitting(config.run, sigma_min)
    partial = mean_step(ViewStage(run, run.clip))
    steps = Ambient(methods, tmp_path).steps_on_all(partial)
    operations = steps * (methods.compute.full_step + partial) / 2
    assert operations == pytest.approx(methods.compute.residual, rel=1e-3)
