"""Compositions are checked against explicit matrices; batching must not change them."""

import pytest
import torch
from explicit_matrices import random, view_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidboot.method.composition import (
    AveragedWindows,
    ComposedDenoiser,
    LowResDenoiser,
    by_scale,
    disjoint_windows,
    in_batches,
)
from vidboot.method.regions import ViewPlan, low_resolution, region_graph, windows
from vidboot.method.views import View

HEIGHT, WIDTH = 4, 8


class LinearDenoiser:
    """D(y; σ) = (1 + σ) W y on flattened views."""

    def __init__(self, size: int, seed: int) -> None:
        self.w = random((size, size), seed)

    def __call__(self, y: Tensor, sigma: Tensor) -> Tensor:
        return ((1 + sigma)[:, None] * (y.flatten(1) @ self.w.T)).reshape(y.shape)


def local(x: Tensor, sigma: Tensor) -> Tensor:
    """A non-linear denoiser for any number of frames that mixes neighbours in time and items not at all."""
    level = sigma[:, None, None, None, None]
    return torch.tanh(x + 0.3 * torch.roll(x, 1, dims=2)) / (1 + level)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_composition_is_that_of_explicit_matrices(data):
    num_frames, length = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 6))
    views = windows(num_frames, length, data.draw(st.integers(0, length - 1)))
    views += low_resolution(num_frames, data.draw(st.sampled_from([(), (2,), (2, 4), (4,)])))
    if data.draw(st.booleans()):
        views.append(View(range(0, num_frames, data.draw(st.integers(1, 4))), data.draw(st.sampled_from([1, 2]))))
    regions = region_graph(views)
    denoisers = {
        r.view: LinearDenoiser(r.view.num_frames * HEIGHT * WIDTH // r.view.scale**2, seed)
        for seed, r in enumerate(regions)
    }
    expected = 0
    for region in regions:
        a = view_matrix(region.view, num_frames, HEIGHT, WIDTH)
        expected = expected + region.count * a.T @ denoisers[region.view].w @ a
    x, sigma = random((2, 1, num_frames, HEIGHT, WIDTH), 0), torch.tensor([0.5, 2.0], dtype=torch.float64)
    composed = ComposedDenoiser(regions, denoisers)(x, sigma)
    matrix = (1 + sigma)[:, None] * (x.flatten(1) @ expected.T)
    assert (composed.flatten(1) - matrix).abs().max() < 1e-10


@pytest.mark.parametrize("max_batch_frames", [1, 4, 7, 1000])
def test_batching_changes_nothing(max_batch_frames):
    regions = ViewPlan(4, 2, (2,)).regions(11)
    networks = by_scale({1: local, 2: local})
    x, sigma = random((3, 2, 11, 4, 4), 0), torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    together = ComposedDenoiser(regions, networks)(x, sigma)
    split = ComposedDenoiser(regions, networks, max_batch_frames)(x, sigma)
    alone = torch.cat([ComposedDenoiser(regions, networks)(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, split, atol=1e-12)
    assert torch.allclose(together, alone, atol=1e-12)


def test_a_batch_is_no_larger_than_asked_for():
    seen = []

    def spy(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(x.shape[0] * x.shape[2])
        return x

    ComposedDenoiser(ViewPlan(4, 2).regions(12), lambda view: spy, max_batch_frames=8)(torch.zeros(3, 1, 12, 2, 2), 1.0)
    assert max(seen) == 8
    assert sum(seen) == 3 * (5 * 4 + 4 * 2)


def test_with_gradients_no_more_is_kept_than_a_batch_needs():
    """What autograd keeps of a denoiser with large activations, and the same gradient as without batches."""
    kept, gradients = [], []
    for at_once in (None, 4):
        x, held = torch.linspace(-1, 1, 80).reshape(8, 1, 2, 5, 1).requires_grad_(), []

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return (x.expand(-1, 100, -1, -1, -1) ** 3).sin().mean(1, keepdim=True) + sigma.reshape(-1, 1, 1, 1, 1)

        def keep(tensor: Tensor, held: list[int] = held) -> Tensor:
            held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made = in_batches(denoise, x, torch.ones(8), at_once, 2)
            kept.append(sum(held))
            gradients.append(torch.autograd.grad(made.sum(), x)[0])
    assert max(kept) < 1000  # one sine alone keeps 8,000
    torch.testing.assert_close(*gradients)


def test_regions_of_one_network_and_shape_share_a_call():
    calls = []

    def spy(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(tuple(x.shape))
        return x

    ComposedDenoiser(ViewPlan(4, 2).regions(12), lambda view: spy)(torch.zeros(1, 1, 12, 2, 2), 1.0)
    assert sorted(calls) == [(4, 1, 2, 2, 2), (5, 1, 4, 2, 2)]


def test_what_is_noise_free_comes_back_unchanged():
    x = random((2, 3, 13, 4, 4), 0)
    composed = ComposedDenoiser(ViewPlan(5, 2, (2,)).regions(13), lambda view: lambda y, s: y)
    assert torch.allclose(composed(x, torch.zeros(2)), x, atol=1e-12)


def test_natural_range_of_a_low_resolution_network():
    """A network that is exact for white natural-range pixels of variance v is exact as a denoiser of the view."""
    variance, scale = 0.3, 4

    def low(y: Tensor, sigma: Tensor) -> Tensor:
        return y * (variance / (variance + sigma**2))[:, None, None, None, None]

    y, sigma = random((2, 1, 3, 2, 2), 0), torch.tensor([0.5, 3.0], dtype=torch.float64)
    exact = y * (scale**2 * variance / (scale**2 * variance + sigma**2))[:, None, None, None, None]
    assert torch.allclose(LowResDenoiser(low, scale)(y, sigma), exact, atol=1e-12)


def test_averaged_windows():
    x, sigma = random((2, 1, 7, 2, 2), 0), torch.tensor([0.5, 2.0], dtype=torch.float64)
    a, b, c = (local(x[:, :, s : s + 4], sigma) for s in (0, 2, 3))
    frames = [a[:, :, 0], a[:, :, 1], (a[:, :, 2] + b[:, :, 0]) / 2, (a[:, :, 3] + b[:, :, 1] + c[:, :, 0]) / 3]
    frames += [(b[:, :, 2] + c[:, :, 1]) / 2, (b[:, :, 3] + c[:, :, 2]) / 2, c[:, :, 3]]
    assert torch.allclose(AveragedWindows(4, 2, local)(x, sigma), torch.stack(frames, dim=2), atol=1e-12)


def test_disjoint_windows():
    x, sigma = random((1, 1, 7, 2, 2), 0), torch.tensor([0.5], dtype=torch.float64)
    expected = torch.cat([local(x[:, :, :4], sigma), local(x[:, :, 4:], sigma)], dim=2)
    assert torch.allclose(ComposedDenoiser(disjoint_windows(7, 4), lambda view: local)(x, sigma), expected, atol=1e-12)


def test_regions_of_another_length_are_refused():
    composed = ComposedDenoiser(region_graph([View(range(8))]), lambda view: local)
    with pytest.raises(ValueError, match="those of 8 frames, the video has 9"):
        composed(torch.zeros(1, 1, 9, 2, 2), 1.0)


def test_a_plain_number_is_a_noise_level():
    x = random((2, 1, 4, 2, 2), 0)
    composed = ComposedDenoiser(region_graph([View(range(4))]), lambda view: local)
    assert torch.equal(composed(x, 0.7), composed(x, torch.tensor([0.7, 0.7], dtype=torch.float64)))
