"""One Gaussian, given as noise, velocity, flow and x0 prediction in their own conventions, is the same denoiser."""

import math

import pytest
import torch
from torch import Tensor

from vidboot.method.adapters import flow_scale, flow_time, from_eps, from_flow, from_v, from_x0, timesteps
from vidboot.method.composition import ComposedDenoiser, Denoiser
from vidboot.method.edm import karras_sigmas
from vidboot.method.regions import region_graph, windows
from vidboot.method.samplers import initial_state, sample_heun

SIGMAS = (0.002, 0.02, 0.3, 1.0, 5.0, 80.0)
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}


def covariance(num_frames: int) -> Tensor:
    """Of a stationary Gaussian of which each frame depends on the one before (AR 1), at every pixel alike."""
    t = torch.arange(num_frames, dtype=torch.float64)
    return 0.25 * 0.8 ** (t[:, None] - t).abs()


def posterior(z: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """E[x0 | z] and E[n | z] for z = a x0 + b n, in float64, by conditioning on z; a and b have one number per item."""
    c = covariance(z.shape[2])
    a, b = a.double()[:, None, None], b.double()[:, None, None]
    gain = torch.linalg.inv(a**2 * c + b**2 * torch.eye(len(c)))
    whitened = torch.einsum("bst,bcthw->bcshw", gain, z.double())
    a, b = a[..., None, None], b[..., None, None]
    return a * torch.einsum("st,bcthw->bcshw", c, whitened), b * whitened


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] in the variance-exploding convention: what all adapters should give."""
    return posterior(x, torch.ones_like(sigma), sigma)[0].to(x.dtype)


def angle(sigma: Tensor) -> Tensor:
    """A time of the variance-preserving process: α = cos φ, √(1−α²) = sin φ."""
    return torch.atan(sigma)


def vp(z: Tensor, phi: Tensor, of_x0: bool = True, of_noise: bool = True) -> Tensor:
    """A variance-preserving network: its predictions of x0, noise or velocity cos φ n − sin φ x0, in the dtype of z."""
    cos, sin = phi.double().cos(), phi.double().sin()
    x0, n = posterior(z, cos, sin)
    cos, sin = (c.reshape(-1, 1, 1, 1, 1) for c in (cos, sin))
    return (x0 if not of_noise else n if not of_x0 else cos * n - sin * x0).to(z.dtype)


def straight(z: Tensor, t: Tensor, of_x0: bool = True, of_noise: bool = True) -> Tensor:
    """A network of the straight line z = (1−t) x0 + t n: its predictions of x0, noise or flow n − x0."""
    x0, n = posterior(z, 1 - t.double(), t.double())
    return (x0 if not of_noise else n if not of_x0 else n - x0).to(z.dtype)


def backward(z: Tensor, s: Tensor) -> Tensor:
    """A flow network whose time s = 1 − t runs from noise to data: it predicts x0 − n."""
    return -straight(z, 1 - s)


ADAPTED: dict[str, Denoiser] = {
    "eps": from_eps(lambda z, phi: vp(z, phi, of_x0=False), angle),
    "eps, on the straight line": from_eps(lambda z, t: straight(z, t, of_x0=False), flow_time, flow_scale),
    "v": from_v(vp, angle),
    "flow": from_flow(straight),
    "flow from noise to data": from_flow(lambda z, s: -backward(z, s), flow_scale),
    "x0": from_x0(lambda z, phi: vp(z, phi, of_noise=False), angle),
    "x0, on the straight line": from_x0(lambda z, t: straight(z, t, of_noise=False), flow_time, flow_scale),
}
"""The Gaussian as a network of each convention, brought back by its adapter."""


def noisy(num_frames: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A video of the Gaussian at each of SIGMAS."""
    generator = torch.Generator().manual_seed(0)
    white, noise = torch.randn(2, len(SIGMAS), 2, num_frames, 3, 4, dtype=torch.float64, generator=generator)
    x0 = torch.einsum("st,bcthw->bcshw", torch.linalg.cholesky(covariance(num_frames)), white)
    sigma = torch.tensor(SIGMAS, dtype=dtype)
    return (x0 + sigma.reshape(-1, 1, 1, 1, 1) * noise).to(dtype), sigma


def assert_same(name: str, actual: Tensor, expected: Tensor, sigma: Tensor | None = None) -> None:
    """To 1e-6 in float32, 1e-10 in float64. Rounding of a predicted noise enters x0 multiplied by σ, like that of x."""
    assert actual.dtype == expected.dtype
    amplified = 1.0 if sigma is None or "eps" not in name else sigma.clamp(min=1).reshape(-1, 1, 1, 1, 1)
    tolerance = TOLERANCE[actual.dtype]
    torch.testing.assert_close(actual / amplified, expected / amplified, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ADAPTED)
def test_every_convention_is_the_same_denoiser(name: str, dtype: torch.dtype) -> None:
    x, sigma = noisy(8, dtype)
    assert_same(name, ADAPTED[name](x, sigma), gaussian(x, sigma), sigma)
    torch.testing.assert_close(ADAPTED[name](x, 0.3), ADAPTED[name](x, torch.full_like(sigma, 0.3)))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ADAPTED)
def test_composed_they_are_the_same_denoiser(name: str, dtype: torch.dtype) -> None:
    (x, sigma), regions = noisy(20, dtype), region_graph(windows(20, 8, 4))
    actual, expected = (ComposedDenoiser(regions, lambda view, d=d: d)(x, sigma) for d in (ADAPTED[name], gaussian))
    assert_same(name, actual, expected, sigma)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ADAPTED)
def test_sampled_past_their_length_they_make_the_same_video(name: str, dtype: torch.dtype) -> None:
    """From σ = 80 down to 0.002, with clips of 8 frames, 20 frames."""
    noise = torch.randn(2, 2, 20, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    regions, sigmas, samples = region_graph(windows(20, 8, 4)), karras_sigmas(18, 0.002, 80.0), []
    for denoise in (ADAPTED[name], gaussian):
        long = ComposedDenoiser(regions, lambda view, denoise=denoise: denoise)
        samples.append(sample_heun(long, initial_state(long, noise.clone(), 80.0), sigmas))
    assert_same(name, *samples)


def arbitrary(z: Tensor, time: Tensor) -> Tensor:
    """No denoiser at all: any function of a network's two inputs."""
    return torch.tanh(z + torch.roll(z, 1, 2)) + time.reshape(-1, 1, 1, 1, 1)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_formulas(sigma: float) -> None:
    """Each as its paper writes it, in its own variables: z = a x0 + b n with a, b, and x = z / a."""
    x = noisy(8, torch.float64)[0]
    tau = torch.full((len(x),), math.log(sigma), dtype=torch.float64)
    a, b = math.cos(math.atan(sigma)), math.sin(math.atan(sigma))
    noise, velocity, x0 = (make(arbitrary, torch.log)(x, sigma) for make in (from_eps, from_v, from_x0))
    f = arbitrary(a * x, tau)
    torch.testing.assert_close(noise, (a * x - b * f) / a, rtol=1e-10, atol=1e-10)  # DDPM, eq. 15
    torch.testing.assert_close(velocity, a * (a * x) - b * f, rtol=1e-10, atol=1e-10)  # Salimans & Ho, appendix D
    torch.testing.assert_close(x0, f, rtol=1e-10, atol=1e-10)
    t = sigma / (1 + sigma)
    z = (1 - t) * x
    expected = z - t * arbitrary(z, torch.full_like(tau, t))
    torch.testing.assert_close(from_flow(arbitrary)(x, sigma), expected, rtol=1e-10, atol=1e-10)


def test_time_and_prediction_have_the_types_that_network_and_sampler_expect() -> None:
    given = []

    def network(z: Tensor, time: Tensor) -> Tensor:
        given.append((z.dtype, time.dtype, time.shape))
        return z.bfloat16()

    x = torch.ones(2, 1, 3, 2, 2)
    denoised = [from_x0(network, time)(x, 0.5) for time in (torch.log, lambda sigma: (sigma / sigma).long())]
    assert given == [(torch.float32, torch.float32, (2,)), (torch.float32, torch.int64, (2,))]
    assert all(x0.dtype == torch.float32 for x0 in denoised)


def test_discrete_timesteps() -> None:
    """The linear schedule of DDPM (Ho et al. 2020, §4): β from 1e-4 to 0.02 in 1000 steps."""
    alphas_cumprod = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    sigma = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    step_of = timesteps(alphas_cumprod)
    torch.testing.assert_close(step_of(sigma), torch.arange(1000, dtype=torch.float64))
    between = (sigma[:-1] * sigma[1:]).sqrt()
    torch.testing.assert_close(step_of(between), torch.arange(999, dtype=torch.float64) + 0.5)
    assert step_of(torch.tensor([1e-6, 1e6], dtype=torch.float64)).tolist() == [0, 999]
    assert alphas_cumprod[258] > 0.5 > alphas_cumprod[259]  # σ = 1
    assert 258 < step_of(torch.tensor([1.0])).item() < 259


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.2, 0.9], [1.0, 0.5], [0.5, 0.0]])
def test_a_schedule_that_does_not_fall_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="each below the one before"):
        timesteps(torch.tensor(values))
