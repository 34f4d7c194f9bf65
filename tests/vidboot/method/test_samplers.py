import gc
import math

import pytest
import torch

from vidboot.config import NoiseConfig
from vidboot.experiments.gaussian.experiments import rules
from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.method.samplers import initial_state, sample_dpm2m, sample_euler, sample_heun, with_resampling

VARIANCE = 0.25


def exact(x, sigma):
    """E[x0 | x] of white Gaussian video of variance 0.25."""
    return x * (VARIANCE / (VARIANCE + sigma**2)).reshape(-1, 1, 1, 1, 1)


def error(sampler, num_steps):
    """Distance from the exact solution of the ODE down to σ_min: x(σ) ∝ √(s² + σ²)."""
    sigmas = NoiseConfig(sigma_min=0.02, sigma_max=20.0).karras_sigmas(num_steps)[:-1]
    x = torch.full((1, 1, 1, 1, 1), float(sigmas[0]), dtype=torch.float64)
    solution = x * math.sqrt((VARIANCE + float(sigmas[-1]) ** 2) / (VARIANCE + float(sigmas[0]) ** 2))
    return abs((sampler(exact, x, sigmas) - solution).item() / solution.item())


@pytest.mark.parametrize(("sampler", "order"), [(sample_euler, 1), (sample_heun, 2), (sample_dpm2m, 2)])
def test_samplers_converge_at_their_order(sampler, order):
    slopes = [math.log2(error(sampler, n) / error(sampler, 2 * n)) for n in (80, 160)]
    assert slopes == pytest.approx([order, order], abs=0.2)


@pytest.mark.parametrize(("sampler", "evaluations"), [(sample_euler, 5), (sample_heun, 9), (sample_dpm2m, 5)])
def test_evaluations_progress_and_the_last_prediction(sampler, evaluations):
    calls, steps = [], []

    def denoise(x, sigma):
        calls.append(sigma.item())
        return torch.full_like(x, 0.5)

    x0 = sampler(denoise, torch.ones(1, 1, 1, 1, 1), NoiseConfig().karras_sigmas(5), steps.append)
    assert (len(calls), steps) == (evaluations, [1, 2, 3, 4, 5])
    torch.testing.assert_close(x0, torch.full_like(x0, 0.5))


class InPieces:
    """A denoiser that gives its result in two parts, and never as a whole."""

    def __call__(self, x, sigma):
        raise AssertionError("a whole result takes memory")

    def add_to_(self, total, x, sigma, weight):
        denoised = exact(x, sigma)
        for frames in (slice(0, 2), slice(2, None)):
            total[:, :, frames] += weight * denoised[:, :, frames]
        return total


@pytest.mark.parametrize("sampler", [sample_euler, sample_heun])
def test_a_long_result_is_added_in_pieces(sampler):
    sigmas, generator = NoiseConfig().karras_sigmas(6), torch.Generator().manual_seed(0)
    noise = torch.randn(2, 1, 5, 2, 2, dtype=torch.float64, generator=generator)
    expected, actual = (
        sampler(denoise, initial_state(denoise, noise.clone(), float(sigmas[0])), sigmas)
        for denoise in (exact, InPieces())
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampler", [sample_euler, sample_heun])
def test_a_long_video_is_held_twice(sampler):
    sigmas, held = NoiseConfig().karras_sigmas(3), []

    class Watched(InPieces):
        def add_to_(self, total, x, sigma, weight):
            tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.shape == x.shape]
            held.append(len({tensor.data_ptr() for tensor in tensors}))
            return super().add_to_(total, x, sigma, weight)

    sampler(Watched(), torch.randn(1, 1, 7, 3, 2, generator=torch.Generator().manual_seed(0)), sigmas)
    assert held == [2] * len(held) and len(held) >= 3


def test_dpm2m_is_the_published_sampler():
    """Written out with t = −ln σ and φ(t) = e^{−t}, as in the k-diffusion library (sample_dpmpp_2m)."""

    def denoise(x, sigma):
        return torch.tanh(2 * x) / (1 + sigma.reshape(-1, 1, 1, 1, 1))

    sigmas = NoiseConfig().karras_sigmas(7)
    start = float(sigmas[0]) * torch.randn(2, 1, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    x, old = start.clone(), None
    for i in range(7):
        denoised = denoise(x, sigmas[i].expand(2))
        t, t_next = -sigmas[i].log(), -sigmas[i + 1].log()
        h = t_next - t
        guess = denoised
        if old is not None and sigmas[i + 1] > 0:
            r = (t - -sigmas[i - 1].log()) / h
            guess = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old
        x = (-t_next).exp() / (-t).exp() * x - (-h).expm1() * guess
        old = denoised
    torch.testing.assert_close(sample_dpm2m(denoise, start.clone(), sigmas), x, rtol=1e-10, atol=1e-10)


def linear_map(sampler, denoise, shape, num_steps):
    """M of a sampler whose denoiser is linear: samples are M n with standard normal n, their covariance is M Mᵀ."""
    size = math.prod(shape)
    sigmas = NoiseConfig(sigma_min=0.01, sigma_max=100.0).karras_sigmas(num_steps)
    return sampler(denoise, torch.eye(size).double().reshape(size, *shape) * sigmas[0], sigmas).flatten(1).T


def lags(covariance, shape):
    """Mean over pixels and frames of the covariance at each distance in time."""
    num_frames, pixels = shape[1], shape[2] * shape[3]
    blocks = covariance.reshape(num_frames, pixels, num_frames, pixels).diagonal(dim1=1, dim2=3).mean(-1)
    return torch.stack([blocks.diagonal(lag).mean() for lag in range(num_frames)])


def test_samples_have_the_covariance_of_the_data_and_the_base_is_nearer_than_averaged_windows():
    video = GaussianVideo.reference(num_frames=12, size=4)
    sigmas = NoiseConfig(sigma_min=0.01, sigma_max=100.0).karras_sigmas(32)
    noise = torch.randn(4096, *video.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    samples = sample_heun(video.denoiser_of(video.full_view), noise * sigmas[0], sigmas).flatten(1)
    truth = video.covariance
    # E‖Ĉ − C‖² of the covariance of n samples of a Gaussian: ((tr C)² + tr C²) / n.
    expected = math.sqrt(float((truth.trace() ** 2 + (truth**2).sum()) / len(samples)))
    assert float((samples.T @ samples / len(samples) - truth).norm()) < 1.2 * expected
    off = {}
    for name in ("counting numbers", "averaged windows"):
        m = linear_map(sample_heun, rules(video)[name], video.shape, 24)
        off[name] = (lags(m @ m.T, video.shape) - lags(truth, video.shape)).abs()
    assert off["counting numbers"].max() < 0.08
    assert off["counting numbers"].sum() < 0.5 * off["averaged windows"].sum()


def test_churn_and_repeats_keep_the_law_and_depend_on_the_items_own_generator_only():
    sigmas = NoiseConfig(sigma_min=0.02, sigma_max=20.0).karras_sigmas(100)

    def sample(seeds, **options):
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        x = torch.stack([torch.randn(1, 1, 32, 32, dtype=torch.float64, generator=g) for g in generators])
        return sample_heun(exact, x * sigmas[0], options.pop("sigmas", sigmas), generators=generators, **options)

    for options in ({"churn": 10.0}, {"sigmas": with_resampling(sigmas[::2], 3)}):
        samples = sample(range(16), **options)
        assert samples.var().item() == pytest.approx(VARIANCE, rel=0.05)
        assert not torch.allclose(samples[:1], sample([0]))
        torch.testing.assert_close(samples[3:4], sample([3], **options))


def test_a_repeated_schedule():
    sigmas = torch.tensor([3.0, 2.0, 1.0, 0.0])
    assert with_resampling(sigmas, 1).tolist() == [3, 2, 1, 0]
    assert with_resampling(sigmas, 2).tolist() == [3, 2, 3, 2, 1, 2, 1, 0]


def test_fresh_noise_needs_generators():
    with pytest.raises(ValueError, match="one generator for each of 1"):
        sample_heun(exact, torch.ones(1, 1, 1, 1, 1), NoiseConfig().karras_sigmas(3), churn=1.0)


def test_samples_have_the_brightness_of_the_data():
    """x0 = m + s z + τ e: one normal z a video, one e a pixel. From noise alone the brightness would be off."""
    m, s, tau, shape = -0.4, 0.1, 0.2, (256, 3, 4, 8, 8)
    size = math.prod(shape[1:])

    def exact(x, sigma):
        level = sigma.reshape(-1, 1, 1, 1, 1) ** 2
        mean = x.flatten(1).mean(1).reshape(level.shape)
        shared = size * s**2 + tau**2  # variance along the direction that all pixels share
        return m + shared / (shared + level) * (mean - m) + tau**2 / (tau**2 + level) * (x - mean)

    sigmas = NoiseConfig(sigma_max=20.0).karras_sigmas(32)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = initial_state(exact, noise.clone(), float(sigmas[0]))
    brightness, alone = (
        sample_heun(exact, x, sigmas).flatten(1).mean(1) for x in (start, noise.clone() * float(sigmas[0]))
    )
    assert float(brightness.mean()) == pytest.approx(m, abs=4 * s / 256**0.5)
    assert float(brightness.std()) == pytest.approx(s, rel=4 / 512**0.5)
    assert abs(float(alone.mean()) - m) > 6 * s / 256**0.5
