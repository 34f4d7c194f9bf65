"""Cases where a composition is exact, or nearly so, by a theorem."""

import pytest
import torch

from vidboot.experiments.gaussian.gaussian import GaussianVideo, stationary_covariance
from vidboot.experiments.gaussian.linear import as_matrix, excess_percent
from vidboot.method.composition import AveragedWindows, ComposedDenoiser
from vidboot.method.regions import ViewPlan, low_resolution, region_graph, windows
from vidboot.method.views import View, pool, unpool

FRAMES, SIZE = 14, 4


def frequencies() -> torch.Tensor:
    index = torch.arange(SIZE, dtype=torch.float64)
    return index[:, None] + index


def law(time_constants: torch.Tensor, long_range: float = 0.0, coupling: float = 0.0) -> GaussianVideo:
    covariance = stationary_covariance(FRAMES, (1 + frequencies()) ** -2, time_constants, long_range, coupling)
    return GaussianVideo(covariance, FRAMES, SIZE, SIZE)


def excess(video: GaussianVideo, denoise, sigma: float) -> float:
    return excess_percent(as_matrix(denoise, video.shape, sigma), video, sigma)


@pytest.mark.parametrize("overlap", [0, 1, 3, 4])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_independent_frames_make_windows_exact(overlap, sigma):
    video = law(torch.full((SIZE, SIZE), 1e-3, dtype=torch.float64), coupling=0.5)
    joined = ComposedDenoiser(region_graph(windows(FRAMES, 5, overlap)), video.denoiser_of)
    averaged = AveragedWindows(5, overlap, video.denoiser_of(View(range(5))))
    counted = ComposedDenoiser(ViewPlan(5, overlap, (2,)).regions(FRAMES), video.denoiser_of)
    for denoise in (joined, averaged, counted):
        assert excess(video, denoise, sigma) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("coupling", [0.0, 0.5])
def test_a_markov_chain_with_little_noise_makes_windows_minus_overlaps_exact(coupling):
    """A frame of overlap separates past and future; noise hides a little of it, less than 0.01 % worth at σ = 0.01."""
    video = law(40 / (1 + frequencies()), coupling=coupling)
    joined = ComposedDenoiser(region_graph(windows(FRAMES, 6, 3)), video.denoiser_of)
    assert excess(video, joined, 0.01) < 0.01
    disjoint = ComposedDenoiser(region_graph(windows(FRAMES, 6, 0)), video.denoiser_of)
    assert excess(video, disjoint, 0.01) > 0.01  # it is the overlap that does it


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_a_video_constant_within_blocks_makes_the_low_resolution_view_exact(sigma):
    full = law(40 / (1 + frequencies()), long_range=0.3, coupling=0.5).covariance.reshape(-1, 1, FRAMES, SIZE, SIZE)
    smooth = unpool(pool(full, 2), 2).flatten(1).T.reshape(full.shape)
    video = GaussianVideo(unpool(pool(smooth, 2), 2).flatten(1), FRAMES, SIZE, SIZE)
    low = ComposedDenoiser(region_graph(low_resolution(FRAMES, [2])), video.denoiser_of)
    assert excess(video, low, sigma) == pytest.approx(0, abs=1e-9)
    assert excess(video, ComposedDenoiser(region_graph(windows(FRAMES, 5, 2)), video.denoiser_of), sigma) > 0.1
    counted = ComposedDenoiser(ViewPlan(5, 2, (2,)).regions(FRAMES), video.denoiser_of)
    assert excess(video, counted, sigma) == pytest.approx(0, abs=1e-9)
