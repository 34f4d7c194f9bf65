"""Ridge learning against brute force: least squares on videos with actual noise."""

import pytest
import torch

from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.experiments.gaussian.ridge import Moment, RidgeLearner, RidgePath


def drawn(count: int, seed: int) -> torch.Tensor:
    video = GaussianVideo.reference(num_frames=3, size=2)
    return video.sample(count, torch.Generator().manual_seed(seed)).flatten(1)


def test_the_solution_is_least_squares_on_noisy_copies():
    """Many noisy copies of each video, and √λ rows that pull towards the centre, solved by `lstsq`."""
    x0, sigma, strength = drawn(5, 0), 0.9, 0.2
    centre = 0.1 * torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    copies, generator = 40_000, torch.Generator().manual_seed(1)
    clean = x0.repeat(copies, 1)
    noisy = clean + sigma * torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    pull = (strength * len(clean)) ** 0.5 * torch.eye(12, dtype=torch.float64)
    w = torch.linalg.lstsq(torch.cat([noisy, pull]), torch.cat([clean, pull @ centre.T])).solution.T
    assert (RidgePath(Moment.of(x0), centre, sigma).solution(strength) - w).abs().max() < 0.01


def test_errors_along_the_path_are_those_of_its_solutions():
    sigma, others = 0.5, drawn(7, 1)
    path = RidgePath(Moment.of(drawn(6, 0)), torch.eye(12, dtype=torch.float64) / 2, sigma)
    strengths = (0.01, 1.0, 100.0)
    for strength, error in zip(strengths, path.errors(Moment.of(others).matrix, strengths), strict=True):
        w = path.solution(strength)
        expected = ((others @ w.T - others) ** 2).mean() + sigma**2 * (w**2).sum() / 12
        assert float(error) == pytest.approx(float(expected))


def test_a_residual_on_the_exact_denoiser_stays_there():
    video = GaussianVideo.reference(num_frames=3, size=2)
    exact = torch.linalg.solve(video.covariance + torch.eye(12, dtype=torch.float64), video.covariance).T
    w, _ = RidgeLearner(drawn(16, 0)).fit(exact, 1.0)
    assert (w - exact).abs().max() < 0.1
    direct, _ = RidgeLearner(drawn(16, 0)).fit(torch.eye(12, dtype=torch.float64) / 2, 1.0)
    assert (w - exact).norm() < 0.2 * (direct - exact).norm()


def test_with_many_videos_the_direct_model_finds_the_exact_one():
    video = GaussianVideo.reference(num_frames=3, size=2)
    exact = torch.linalg.solve(video.covariance + torch.eye(12, dtype=torch.float64), video.covariance).T
    w, strength = RidgeLearner(drawn(100_000, 0)).fit(torch.zeros(12, 12, dtype=torch.float64), 1.0)
    assert (w - exact).abs().max() < 0.01
    assert strength < 0.1
