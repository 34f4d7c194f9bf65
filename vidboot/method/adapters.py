"""Networks of other conventions as denoisers: those that predict noise, velocity, flow or x0.

Here noise is added to unscaled data, x = x0 + σ n (variance exploding). Most networks are trained on x scaled down by
a factor c_in: variance preserving, or the straight line from data to noise of flow matching.

    α x0 + √(1−α²) n = α x          with α = 1/√(1+σ²)
    (1−t) x0 + t n   = (1−t) x      with t = σ/(1+σ)

Whatever such a network F predicts, x0 is a linear combination of x and the prediction. In the notation of EDM (Karras
et al. 2022, arXiv 2206.00364, eq. 7), with τ(σ) the network's own time:

    D(x; σ) = c_skip x + c_out F(c_in x; τ(σ))

                     c_in        c_skip      c_out         F estimates
    `from_eps`       α           1           −σ            n                  (Ho et al. 2020, arXiv 2006.11239)
    `from_v`         α           α²          −σ α          α n − √(1−α²) x0   (Salimans & Ho 2022, arXiv 2202.00512)
    `from_flow`      1/(1+σ)     1/(1+σ)     −σ/(1+σ)      n − x0             (Lipman et al. 2022, arXiv 2210.02747)
    `from_x0`        α           0           1             x0

F is called as `network(c_in x, τ)`, with c_in x of shape B C T H W and τ of shape B, both of the data type of x. Class
labels, text and guidance are the caller's to bind: `lambda z, t: unet(z, t, text).sample`. The coefficients are
computed in float64, and none by a difference that cancels at small or large σ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor

from vidboot.method.composition import Denoiser, NoiseLevel, per_item

Prediction = Callable[[Tensor, Tensor], Tensor]
"""F: a network's prediction from its noisy input (B C T H W) and its time (B)."""
OfSigma = Callable[[Tensor], Tensor]
"""A function of the noise levels σ of a batch (B, float64)."""


def vp_scale(sigma: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """α = 1/√(1+σ²), the scale of a variance-preserving process."""
    return (1 + sigma**2).rsqrt()


def flow_scale(sigma: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """1 − t = 1/(1+σ), the scale of flow matching."""
    return 1 / (1 + sigma)


def flow_time(sigma: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """t = σ/(1+σ), the time of flow matching: 0 for data, 1 for noise."""
    return sigma / (1 + sigma)


def timesteps(alphas_cumprod: Float[Tensor, "N"]) -> OfSigma:
    """The time of a network that was trained at N discrete steps: σ to a step from 0 to N − 1, with fractions.

    `alphas_cumprod` holds α² at each step (`scheduler.alphas_cumprod` in diffusers), and σ = √(1−α²)/α there. Between
    steps the result is linear in ln σ; below the first and above the last it is constant. Raises `ValueError` unless
    the α² fall from step to step, between 1 and 0.
    """
    squares = alphas_cumprod.double()
    if not (len(squares) > 1 and squares.min() > 0 and squares.max() < 1 and (squares.diff() < 0).all()):
        raise ValueError("alphas_cumprod must be two or more numbers between 0 and 1, each below the one before")
    knots = ((1 - squares) / squares).log() / 2

    def time(sigma: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The step of each σ."""
        levels, at = knots.to(sigma.device), sigma.double().log()
        right = torch.searchsorted(levels, at).clamp(1, len(levels) - 1)
        share = (at - levels[right - 1]) / (levels[right] - levels[right - 1])
        return right - 1 + share.clamp(0, 1)

    return time


@dataclass(frozen=True, eq=False)
class _Adapted:
    """D(x; σ) = c_skip x + c_out F(c_in x; τ(σ))."""

    network: Prediction
    c_in: OfSigma
    c_skip: OfSigma
    c_out: OfSigma
    time: OfSigma

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, whose item b has noise of standard deviation `sigma[b]` (or a number for all)."""
        sigma = per_item(sigma, x).double()
        c_in, c_skip, c_out = (
            c(sigma).to(x.dtype).reshape(-1, 1, 1, 1, 1) for c in (self.c_in, self.c_skip, self.c_out)
        )
        prediction = self.network(c_in * x, _as_input(self.time(sigma), x)).to(x.dtype)
        return c_skip * x + c_out * prediction


def _as_input(time: Num[Tensor, "B"], x: Float[Tensor, "B C T H W"]) -> Num[Tensor, "B"]:
    """τ as the network takes it: of the data type of `x`, whole numbers as they are."""
    return time.to(x.dtype) if time.is_floating_point() else time


def from_eps(network: Prediction, time: OfSigma, scale: OfSigma = vp_scale) -> Denoiser:
    """A network that predicts the noise n, as a denoiser: D(x; σ) = x − σ F(c_in x; τ).

    `time` gives the network's own time or noise variable τ as a function of σ (for discrete steps see `timesteps`);
    `scale` gives c_in: `vp_scale`, `flow_scale`, or `torch.ones_like` for a network of x itself. An error of F enters D
    multiplied by σ, so for large σ F should be computed in float32.
    """
    return _Adapted(network, scale, torch.ones_like, torch.neg, time)


def from_v(network: Prediction, time: OfSigma) -> Denoiser:
    """A network that predicts the velocity v = α n − √(1−α²) x0, as a denoiser: D(x; σ) = α² x − σ α F(α x; τ).

    This is x0 = α z − √(1−α²) v with z = α x and √(1−α²) = σ α. `time` as in `from_eps`.
    """
    return _Adapted(network, vp_scale, lambda sigma: vp_scale(sigma) ** 2, lambda sigma: -sigma * vp_scale(sigma), time)


def from_flow(network: Prediction, time: OfSigma = flow_time) -> Denoiser:
    """A network that predicts the flow u = n − x0, as a denoiser: D(x; σ) = z − t F(z; τ) with z = (1−t) x.

    If the network's time runs from noise to data, so that it predicts x0 − n, give the negative of its prediction and
    `time=flow_scale`.
    """
    return _Adapted(network, flow_scale, flow_scale, lambda sigma: -flow_time(sigma), time)


def from_x0(network: Prediction, time: OfSigma, scale: OfSigma = vp_scale) -> Denoiser:
    """A network that predicts x0 from scaled noisy data, as a denoiser: D(x; σ) = F(c_in x; τ).

    `time` and `scale` as in `from_eps`.
    """
    return _Adapted(network, scale, torch.zeros_like, torch.ones_like, time)
