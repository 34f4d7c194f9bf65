"""The calibrated base: equal to the rules it contains, unit gain everywhere, and never harmful."""

import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from explicit_matrices import random
from torch import Tensor

from vidboot.experiments.gaussian.experiments import PLAN, uniform_rules
from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.experiments.gaussian.linear import as_matrix, mean_square_error
from vidboot.experiments.gaussian.networks import TrainedViews
from vidboot.method.calibration import (
    CalibratedDenoiser,
    Calibration,
    Estimate,
    all_estimates,
    counting_weights,
    visible,
)
from vidboot.method.calibration_fit import ErrorCovariance, combine, cross_validate, fit_band, fit_calibration, measure
from vidboot.method.composition import AveragedWindows, ComposedDenoiser, by_scale
from vidboot.method.regions import ViewPlan, region_graph, windows

PLANS = [ViewPlan(5, 2), ViewPlan(5, 2, (2,)), ViewPlan(4, 3, (2, 4)), ViewPlan(6, 2, (2,))]
SIGMAS = (0.1, 1.0, 10.0)


def local(x: Tensor, sigma: Tensor) -> Tensor:
    """A denoiser that uses one frame back: right at σ = 0."""
    level = sigma[:, None, None, None, None]
    return (x + 0.5 * level * torch.tanh(torch.roll(x, 1, dims=2))) / (1 + level)


def networks(plan: ViewPlan):
    return by_scale(dict.fromkeys(plan.scales, local))


def random_calibration(plan: ViewPlan, seed: int) -> Calibration:
    """Arbitrary weights that sum to one in every band."""
    generator = np.random.default_rng(seed)
    weights = []
    for _ in SIGMAS:
        bands = []
        for level in range(len(plan.scales)):
            w = generator.normal(size=len(visible(plan, level)))
            bands.append(dict(zip(visible(plan, level), (w + (1 - w.sum()) / len(w)).tolist(), strict=True)))
        weights.append(tuple(bands))
    return Calibration(plan, SIGMAS, tuple(weights))


def everywhere(plan: ViewPlan, name: str) -> CalibratedDenoiser:
    band = {Estimate.parse(name): 1.0}
    return CalibratedDenoiser(Calibration(plan, (1.0,), ((band,) * len(plan.scales),)), networks(plan))


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("num_frames", [3, 5, 11, 16])
def test_it_starts_as_the_counting_numbers(plan, num_frames):
    x, sigma = random((2, 1, num_frames, 8, 8), 0), torch.tensor([0.3, 4.0], dtype=torch.float64)
    counted = ComposedDenoiser(plan.regions(num_frames), networks(plan))(x, sigma)
    calibrated = CalibratedDenoiser(Calibration.counting(plan), networks(plan), max_batch_frames=7)(x, sigma)
    assert torch.allclose(counted, calibrated, atol=1e-12)


def test_it_contains_the_single_rules():
    plan, x, sigma = ViewPlan(5, 2, (2,)), random((2, 1, 12, 8, 8), 0), torch.tensor([0.3, 4.0], dtype=torch.float64)
    joined = ComposedDenoiser(region_graph(windows(12, 5, 2)), networks(plan))
    assert torch.allclose(everywhere(plan, "joined@1")(x, sigma), joined(x, sigma), atol=1e-12)
    averaged = AveragedWindows(5, 2, local)
    assert torch.allclose(everywhere(plan, "averaged@1")(x, sigma), averaged(x, sigma), atol=1e-12)
    assert torch.allclose(everywhere(plan, "whole@1")(x, sigma), local(x, sigma), atol=1e-12)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("num_frames", [3, 11, 30])
def test_any_weights_have_unit_gain_at_any_length(plan, num_frames):
    """Networks that return a fixed video's view make every composition return that video: σ → 0 and σ → ∞ alike."""
    x = random((2, 1, num_frames, 8, 8), 0)
    calibration = random_calibration(plan, 0)
    for sigma in (0.01, 0.5, 30.0):
        kept = CalibratedDenoiser(calibration, lambda view: lambda y, s: y)(x, sigma)
        assert torch.allclose(kept, x, atol=1e-10)
    nearly = CalibratedDenoiser(calibration, networks(plan))(x, 1e-9)
    assert torch.allclose(nearly, x, atol=1e-6)


def test_weights_are_linear_in_log_sigma_and_constant_outside():
    calibration = random_calibration(ViewPlan(5, 2, (2,)), 0)
    low, high = (calibration.at(sigma)[1] for sigma in SIGMAS[:2])
    between = calibration.at(np.sqrt(SIGMAS[0] * SIGMAS[1]))[1]
    assert between == pytest.approx({k: (low[k] + high[k]) / 2 for k in low})
    assert calibration.at(1e-4) == calibration.at(SIGMAS[0])
    assert calibration.at(1e3) == calibration.at(SIGMAS[-1])


def test_items_of_a_batch_have_their_own_weights():
    plan, x = ViewPlan(5, 2, (2,)), random((3, 1, 9, 4, 4), 0)
    denoise = CalibratedDenoiser(random_calibration(plan, 1), networks(plan))
    sigma = torch.tensor([0.05, 0.7, 20.0], dtype=torch.float64)
    alone = torch.cat([denoise(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    assert torch.allclose(denoise(x, sigma), alone, atol=1e-12)


def test_estimates_of_weight_zero_cost_nothing():
    seen = []

    def spy(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(x.shape[0] * x.shape[2])
        return x

    plan = ViewPlan(4, 2, (2,))
    x = torch.zeros(1, 1, 12, 4, 4)
    CalibratedDenoiser(Calibration.counting(plan), lambda view: spy)(x, 1.0)
    ComposedDenoiser(plan.regions(12), lambda view: spy)(x, 1.0)
    assert sum(seen[: len(seen) // 2]) == sum(seen[len(seen) // 2 :])


def test_it_survives_json():
    calibration = random_calibration(PLANS[3], 2)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_stored_weights_that_no_plan_has_are_refused():
    def stored(change: Callable[[dict], object]) -> dict:
        values = Calibration.counting(ViewPlan(4, 2, (2,))).to_dict()
        change(values)
        return values

    for change, complaint in (
        (lambda v: v["weights"][0][0].update({"guessed@1": 0.0}), "guessed@1 is no estimate of band 0"),
        (lambda v: v["weights"][0][0].update({"whole@2": 0.0}), "whole@2 is no estimate of band 0"),
        (lambda v: v["weights"][0][1].update({"joined@1": 0.5}), "of band 1 don't sum to one"),
        (lambda v: v["weights"][0].pop(), "1 bands of 2"),
        (lambda v: v.update(sigmas=[]), "noise levels must rise"),
        (lambda v: v.update(sigmas=[2.0, 1.0], weights=2 * v["weights"]), "noise levels must rise"),
    ):
        with pytest.raises(ValueError, match=complaint):
            Calibration.from_dict(stored(change))


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_error_covariances_predict_the_error_of_any_weights(plan):
    """Σ_j wᵀ M_j w, band by band, is the mean-square error of the denoiser itself on the same videos and noise."""
    x0, sigma, calibration = random((3, 2, 11, 8, 8), 0), 1.0, random_calibration(plan, 1)
    bands = measure(plan, networks(plan), [x0], [sigma], torch.Generator().manual_seed(5))[0]
    predicted = 0
    for level, band in enumerate(bands):
        w = np.array([calibration.at(sigma)[level][k] for k in band.estimates])
        predicted = predicted + np.einsum("k,nkl,l->n", w, band.per_video, w)
    noise = torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(5))
    error = CalibratedDenoiser(calibration, networks(plan))(x0 + sigma * noise, sigma) - x0
    assert predicted == pytest.approx(error.square().flatten(1).mean(1).numpy())


def test_several_draws_of_noise_are_averaged_for_each_video():
    plan, videos = ViewPlan(4, 2, (2,)), random((3, 1, 10, 4, 4), 0).split(1)

    def measured(draws: int, generator: torch.Generator, some: list[Tensor]) -> np.ndarray:
        bands = measure(plan, networks(plan), some, [1.0], generator, draws=draws)[0]
        return np.stack([band.per_video[:, :3, :3] for band in bands])

    one_by_one = torch.Generator().manual_seed(0)
    expected = [np.mean([measured(1, one_by_one, [x0]) for _ in range(4)], axis=0) for x0 in videos]
    together = measured(4, torch.Generator().manual_seed(0), videos)
    np.testing.assert_allclose(together, np.concatenate(expected, axis=1), rtol=1e-12)


def covariance(seed: int, count: int = 8, size: int = 4) -> np.ndarray:
    factors = np.random.default_rng(seed).normal(size=(count, size, 3 * size))
    return factors @ factors.transpose(0, 2, 1)


def test_the_ridge_solution_minimises_what_it_says():
    m, centre, strength = covariance(0)[0], np.array([1.0, 0, 0, 0]), 0.3
    z = np.eye(4) - 0.25
    size = np.trace(z @ m @ z) / 3  # mean eigenvalue of M on Σ z = 0
    found = scipy.optimize.minimize(
        lambda w: w @ m @ w + strength * size * ((w - centre) ** 2).sum(),
        centre,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-12,
    )
    assert combine(m, centre, strength) == pytest.approx(found.x, abs=1e-5)


def test_estimates_that_agree_stay_at_the_centre():
    centre = np.array([1.0, 1.0, -1.0])
    assert combine(np.full((3, 3), 0.7), centre, 0.001) == pytest.approx(centre, abs=1e-6)


def test_cross_validation_never_uses_a_video_for_its_own_weights():
    m, centre = covariance(1), np.array([0.0, 1.0, 0, 0])
    errors = cross_validate(m, centre, 0.1)
    for held_out, error in enumerate(errors):
        w = combine(np.delete(m, held_out, axis=0).mean(axis=0), centre, 0.1)
        assert error == pytest.approx(w @ m[held_out] @ w)


def test_weights_fitted_sum_to_one_and_beat_the_rules_where_errors_are_independent():
    """Three estimates with equal independent errors: a third each."""
    errors = np.random.default_rng(0).normal(size=(12, 3, 500))
    band = ErrorCovariance(tuple(all_estimates(ViewPlan(4, 2))), errors @ errors.transpose(0, 2, 1) / 500)
    weights, record = fit_band(ViewPlan(4, 2), 0, band)
    assert sum(weights.values()) == pytest.approx(1)
    assert list(weights.values()) == pytest.approx([1 / 3] * 3, abs=0.05)
    assert record["error"] < min(record["rule_errors"].values())


def test_one_video_is_not_enough_to_leave_the_counting_numbers():
    plan, generator = ViewPlan(4, 2, (2,)), torch.Generator().manual_seed(0)
    fitted = fit_calibration(plan, networks(plan), [random((1, 1, 8, 4, 4), 0)], [1.0], generator)
    assert fitted.at(1.0) == tuple(counting_weights(plan, level) for level in range(2))


def test_without_a_video_it_says_what_to_do():
    plan = ViewPlan(4, 2)
    with pytest.raises(ValueError, match="use the counting numbers"):
        fit_calibration(plan, networks(plan), [], [1.0], torch.Generator())


@pytest.mark.parametrize("clips", [300, 3000])
def test_it_does_no_harm(clips):
    """Held-out error against every single rule, at every noise level, with networks that err.

    Errors are exact (closed form), so the only uncertainty is that of the sixteen videos and their noise: the 95 %
    confidence interval is that of the mean of the paired differences over independent fits.
    """
    video, sigmas = GaussianVideo.reference(num_frames=24), (0.1, 0.3, 1.0, 3.0, 10.0)
    trained = TrainedViews(video, PLAN, clips, torch.Generator().manual_seed(1))
    fits = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        full = [video.sample(16, generator)]
        fits.append(fit_calibration(PLAN, trained, full, sigmas, generator))
    rules = [Calibration(PLAN, (1.0,), (bands,)) for bands in uniform_rules(PLAN).values()]

    def errors(calibrations: list[Calibration], sigma: float) -> np.ndarray:
        made = [as_matrix(CalibratedDenoiser(c, trained), video.shape, sigma) for c in calibrations]
        return np.array([mean_square_error(w, video.covariance, sigma) for w in made])

    gains = {}
    for sigma in sigmas:
        best = errors(rules, sigma).min()
        loss = errors(fits, sigma) / best - 1
        half_width = 2.57 * loss.std(ddof=1) / np.sqrt(len(loss))  # t quantile, 5 degrees of freedom
        assert loss.mean() <= half_width + 1e-3, f"{100 * loss.mean():.2f} % worse than the best rule at σ = {sigma}"
        gains[sigma] = -loss.mean()
    assert gains[1.0] > 0.004  # and where rules are far from the best possible, it helps


def test_it_fits_in_batches_of_any_size():
    plan, videos = ViewPlan(4, 2, (2,)), random((6, 1, 10, 4, 4), 0).clamp(-1, 1)

    def fit(size: int) -> Calibration:
        generator = torch.Generator().manual_seed(0)
        return fit_calibration(plan, networks(plan), videos.split(size), [0.5, 2.0], generator)

    for a, b in itertools.pairwise([fit(1), fit(2), fit(6)]):
        for left, right in zip(a.weights, b.weights, strict=True):
            for one, other in zip(left, right, strict=True):
                assert one == pytest.approx(other, abs=1e-9)
