"""The Gaussian laws have the covariance they claim, and the exact denoisers are exact."""

import numpy as np
import pytest
import scipy.fft
import torch

from vidboot.experiments.gaussian.gaussian import (
    GaussianVideo,
    WienerDenoiser,
    reference_covariance,
    stationary_covariance,
)
from vidboot.experiments.gaussian.linear import as_matrix, excess_percent, mean_square_error
from vidboot.method.views import View

SIZE, FRAMES = 3, 6


def in_frequency(covariance: torch.Tensor) -> np.ndarray:
    """Covariance over (time, DCT frequencies) × the same, by transforming both sides with scipy's own DCT."""
    c = covariance.numpy().reshape(FRAMES, SIZE, SIZE, FRAMES, SIZE, SIZE)
    c = scipy.fft.dctn(c, axes=(1, 2), norm="ortho")
    c = scipy.fft.dctn(c, axes=(4, 5), norm="ortho")
    return c.reshape(FRAMES, SIZE * SIZE, FRAMES, SIZE * SIZE)


def test_the_reference_law_is_the_one_written_down():
    """v_f ∝ 1/(1+f)², correlation (1 − ρ) exp(−Δt/τ_f) + ρ, τ_f = 40/(1+f); frequencies independent."""
    rho, c = 0.3, in_frequency(reference_covariance(FRAMES, SIZE, long_range=0.3))
    f = np.add.outer(np.arange(SIZE), np.arange(SIZE)).ravel()
    scale = SIZE * SIZE / (1 / (1 + f) ** 2).sum()
    for a in range(SIZE * SIZE):
        for b in range(SIZE * SIZE):
            lag = np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES)))
            correlation = (1 - rho) * np.exp(-lag * (1 + f[a]) / 40) + rho
            expected = scale / (1 + f[a]) ** 2 * correlation if a == b else 0 * lag
            assert c[:, a, :, b] == pytest.approx(expected, abs=1e-12)
    assert np.trace(reference_covariance(FRAMES, SIZE)) == pytest.approx(FRAMES * SIZE * SIZE)


@pytest.mark.parametrize("coupling", [0.0, 0.4, 1.0])
def test_coupling_is_a_law_stationary_in_time_that_leaves_each_frequency_alone(coupling):
    coupled = reference_covariance(FRAMES, SIZE, 0.3, coupling)
    c, free = in_frequency(coupled), in_frequency(reference_covariance(FRAMES, SIZE, 0.3))
    assert torch.linalg.eigvalsh(coupled).min() > -1e-10
    assert torch.allclose(coupled, coupled.T)
    assert c[1:, :, 1:] == pytest.approx(c[:-1, :, :-1], abs=1e-12)  # depends on the lag alone
    same = np.arange(SIZE * SIZE)
    assert c[:, same, :, same] == pytest.approx(free[:, same, :, same], abs=1e-12)
    if coupling:
        assert abs(c[0, 0, 3, 1]) > 0.1 * coupling


def test_the_covariance_of_a_coupled_pair_is_that_of_a_simulation():
    """Two Ornstein–Uhlenbeck processes driven by correlated noise, integrated in small steps."""
    tau, kappa, step = np.array([2.0, 5.0]), 0.6, 0.02
    decay = np.exp(-step / tau)
    # Exact covariance of one step's noise, then the stationary covariance from its recursion.
    rates = 1 / tau[:, None] + 1 / tau
    drive = np.array([[1, kappa], [kappa, 1]]) * 2 / np.sqrt(np.outer(tau, tau)) * (1 - np.exp(-step * rates)) / rates
    stationary = drive / (1 - np.outer(decay, decay))
    later = np.diag(decay ** (3 / step)) @ stationary  # Cov(z(t + 3), z(t))
    law = stationary_covariance(4, torch.ones(1, 2), torch.from_numpy(tau)[None], coupling=kappa)
    transform = scipy.fft.dct(np.eye(2), axis=0, norm="ortho")
    c = law.numpy().reshape(4, 2, 4, 2)
    assert transform @ c[0, :, 0] @ transform.T == pytest.approx(stationary, abs=1e-10)
    assert transform @ c[3, :, 0] @ transform.T == pytest.approx(later, abs=1e-10)


def test_shares_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        reference_covariance(4, 2, long_range=1.2)
    with pytest.raises(ValueError, match="doesn't fit videos"):
        GaussianVideo(torch.eye(5, dtype=torch.float64), 2, 2, 2)


def test_samples_have_the_covariance():
    video = GaussianVideo.reference(num_frames=4, size=2, coupling=0.5)
    samples = video.sample(200_000, torch.Generator().manual_seed(0)).flatten(1)
    assert (samples.T @ samples / len(samples) - video.covariance).abs().max() < 0.02
    assert samples.mean(0).abs().max() < 0.02


def test_the_exact_denoiser_is_the_conditional_mean_of_every_view():
    video = GaussianVideo.reference(num_frames=5, size=4, coupling=0.3)
    for view in (View(range(1, 4)), View(range(5), 2), View(range(0, 5, 2)), View([2], 4)):
        a = torch.stack([view.lift(e.reshape(1, 1, view.num_frames, *[4 // view.scale] * 2), 5).flatten() for e in
                         torch.eye(view.num_frames * (4 // view.scale) ** 2, dtype=torch.float64)])  # fmt: skip
        c, sigma = a @ video.covariance @ a.T, 0.7
        w = torch.linalg.solve(c + sigma**2 * torch.eye(len(c), dtype=torch.float64), c).T
        shape = (1, view.num_frames, 4 // view.scale, 4 // view.scale)
        assert torch.allclose(as_matrix(video.denoiser_of(view), shape, sigma), w, atol=1e-10)


def test_items_may_have_different_noise_levels():
    denoise = WienerDenoiser(torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
    x = torch.ones(3, 1, 2, 1, 1, dtype=torch.float64)
    sigma = torch.tensor([0.0, 1.0, 1e6], dtype=torch.float64)
    together, alone = denoise(x, sigma), torch.cat([denoise(x[:1], s) for s in sigma])
    assert torch.allclose(together, alone)
    assert torch.allclose(together[0], x[0])
    assert together[2].abs().max() < 1e-9


def test_errors_agree_with_a_simulation():
    """Closed-form errors against sampled videos and noise, to three standard errors."""
    video, sigma, generator = GaussianVideo.reference(num_frames=4, size=2), 0.8, torch.Generator().manual_seed(0)
    x0 = video.sample(20_000, generator)
    x = x0 + sigma * torch.randn(x0.shape, dtype=torch.float64, generator=generator)

    def averaged_with_next(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return (x + torch.roll(x, 1, dims=2)) / 2.5

    for denoise in (video.denoiser_of(video.full_view), averaged_with_next):
        errors = (denoise(x, torch.full((len(x),), sigma)) - x0).square().flatten(1).mean(1)
        exact = mean_square_error(as_matrix(denoise, video.shape, sigma), video.covariance, sigma)
        assert abs(errors.mean() - exact) < 3 * errors.std() / len(errors) ** 0.5
    best = as_matrix(video.denoiser_of(video.full_view), video.shape, sigma)
    assert mean_square_error(best, video.covariance, sigma) == pytest.approx(video.minimum_error(sigma))
    assert excess_percent(best, video, sigma) == pytest.approx(0, abs=1e-9)
