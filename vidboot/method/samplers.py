"""Samplers: plain functions `(denoise, x, sigmas) -> x0` over any denoiser, solving dx/dσ = (x − D(x; σ)) / σ.

`x` is noise of standard deviation `sigmas[0]` around the mean (`initial_state`). It is overwritten, to save memory:
Euler and Heun hold two videos if the denoiser adds its result to a tensor (`AccumulatingDenoiser`), else three.
`sigmas` ends with 0. Where it rises, fresh noise is added (`with_resampling`). The noise of item b is drawn from
`generators[b]`, so that an item's result does not depend on the batch. `on_step` is called with the number of steps
done.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.method.composition import AccumulatingDenoiser, Denoiser

OnStep = Callable[[int], None]


@runtime_checkable
class Sampler(Protocol):
    """The signature that the samplers of this module share."""

    def __call__(
        self,
        denoise: Denoiser,
        x: Float[Tensor, "B C T H W"],
        sigmas: Float[Tensor, "levels"],
        on_step: OnStep = ...,
        generators: Sequence[torch.Generator] = ...,
    ) -> Float[Tensor, "B C T H W"]:
        """Turn noise into a sample."""
        ...


def do_nothing(step: int) -> None:
    """Default callback: does nothing."""


@torch.no_grad()
def initial_state(denoise: Denoiser, noise: Float[Tensor, "B C T H W"], sigma: float) -> Float[Tensor, "B C T H W"]:
    """Where sampling starts: σ n + D(σ n; σ), noise around the mean of the data; `noise` n is overwritten.

    Noise alone, without the mean, is not what D was trained on, however large σ is. The mean of a video's N numbers,
    its brightness, has a standard deviation of only σ/√N in noise, so that a missing mean of the data shows there,
    and the result is a video of another brightness (Lin et al. 2023, arXiv 2305.08891, on the same flaw of discrete
    schedules). At the largest σ D is close to the mean of the data, given the observation.
    """
    x = noise.mul_(sigma)
    return _add_denoised_(x.clone(), denoise, x, sigma)


@torch.no_grad()
def sample_euler(
    denoise: Denoiser,
    x: Float[Tensor, "B C T H W"],
    sigmas: Float[Tensor, "levels"],
    on_step: OnStep = do_nothing,
    generators: Sequence[torch.Generator] = (),
) -> Float[Tensor, "B C T H W"]:
    """First order, one evaluation a step; this is DDIM (Song et al. 2020, arXiv 2010.02502) in σ."""
    for step, (sigma, sigma_next) in enumerate(_pairs(sigmas), 1):
        if sigma_next > sigma:
            _add_noise_(x, sigma_next**2 - sigma**2, generators)
        else:
            x.copy_(_euler_step(denoise, x, sigma, sigma_next))
        on_step(step)
    return x


@torch.no_grad()
def sample_heun(
    denoise: Denoiser,
    x: Float[Tensor, "B C T H W"],
    sigmas: Float[Tensor, "levels"],
    on_step: OnStep = do_nothing,
    generators: Sequence[torch.Generator] = (),
    churn: float = 0.0,
) -> Float[Tensor, "B C T H W"]:
    """Second order, two evaluations a step and one in the last: 2·steps − 1 (Karras et al. 2022, arXiv 2206.00364).

    Algorithm 1; with `churn` (the paper's S_churn) Algorithm 2, which adds noise before each step: σ̂ = σ (1 + γ) with
    γ = min(S_churn / steps, √2 − 1).
    """
    gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for step, (sigma, sigma_next) in enumerate(_pairs(sigmas), 1):
        if sigma_next > sigma:
            _add_noise_(x, sigma_next**2 - sigma**2, generators)
        else:
            if gamma > 0:
                raised = sigma * (1 + gamma)
                _add_noise_(x, raised**2 - sigma**2, generators)
                sigma = raised
            _heun_step_(denoise, x, sigma, sigma_next)
        on_step(step)
    return x


def _euler_step(denoise: Denoiser, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """x + (σ' − σ) d with d = (x − D(x; σ))/σ, which is (σ'/σ) x + (1 − σ'/σ) D."""
    ratio = sigma_next / sigma
    return _add_denoised_(x * ratio, denoise, x, sigma, 1 - ratio)


def _heun_step_(denoise: Denoiser, x: Tensor, sigma: float, sigma_next: float) -> None:
    """x ← x + h (d + d')/2 with h = σ' − σ, d = (x − D(x; σ))/σ and d' the same at x' = x + h d, σ'."""
    x_next = _euler_step(denoise, x, sigma, sigma_next)
    if sigma_next == 0:
        x.copy_(x_next)
        return
    # x + h (d + d')/2 = (x + x')/2 + h/(2σ') (x' − D'), since h d = x' − x.
    share = (sigma_next - sigma) / (2 * sigma_next)
    _add_denoised_(x.lerp_(x_next, 0.5).add_(x_next, alpha=share), denoise, x_next, sigma_next, -share)


@torch.no_grad()
def sample_dpm2m(
    denoise: Denoiser,
    x: Float[Tensor, "B C T H W"],
    sigmas: Float[Tensor, "levels"],
    on_step: OnStep = do_nothing,
    generators: Sequence[torch.Generator] = (),
) -> Float[Tensor, "B C T H W"]:
    """DPM-Solver++(2M): second order, one evaluation a step (Lu et al. 2022, arXiv 2211.01095, Algorithm 2).

    In σ, with λ = −ln σ and h its step: x ← (σ'/σ) x + (1 − e^{−h}) D̄, where D̄ = D + h/(2 h_before) (D − D_before).
    The first step, the last and one after a rise have no D_before and are of first order.
    """
    before, h_before = None, math.inf
    for step, (sigma, sigma_next) in enumerate(_pairs(sigmas), 1):
        if sigma_next > sigma:
            _add_noise_(x, sigma_next**2 - sigma**2, generators)
            before = None
        else:
            ratio = sigma_next / sigma  # e^{−h}
            h = -math.log(ratio) if ratio > 0 else math.inf
            x0 = _denoised(denoise, x, sigma)
            # At σ' = 0 the step in λ is infinite: take the last prediction alone.
            share = 0.0 if before is None or ratio == 0 else (1 - ratio) * h / (2 * h_before)
            x.mul_(ratio).add_(x0, alpha=1 - ratio + share)
            if before is not None:
                x.sub_(before, alpha=share)
            before, h_before = x0, h
        on_step(step)
    return x


SAMPLERS: dict[str, Sampler] = {"heun": sample_heun, "dpm2m": sample_dpm2m, "euler": sample_euler}


def with_resampling(sigmas: Float[Tensor, "levels"], times: int) -> Float[Tensor, "more"]:
    """The schedule in which each step but the last is taken `times` times, with the noise put back in between.

    Repeated steps bring the generated part into agreement with the observed part (RePaint, Lugmayr et al. 2022, arXiv
    2201.09865; the time travel of DDNM, arXiv 2212.00490). `times` = 1 is the schedule itself.
    """
    levels = sigmas.tolist()
    schedule = levels[:1]
    for sigma, sigma_next in itertools.pairwise(levels[:-1]):
        schedule += [sigma_next, *[sigma, sigma_next] * (times - 1)]
    return sigmas.new_tensor([*schedule, *levels[-1:]])


def _pairs(sigmas: Float[Tensor, "levels"]) -> Iterator[tuple[float, float]]:
    return itertools.pairwise(sigmas.tolist())


def _denoised(denoise: Denoiser, x: Tensor, sigma: float) -> Tensor:
    return denoise(x, x.new_full((len(x),), sigma))


def _add_denoised_(total: Tensor, denoise: Denoiser, x: Tensor, sigma: float, weight: float = 1.0) -> Tensor:
    """Total ← total + weight · D(x; σ), in place."""
    if isinstance(denoise, AccumulatingDenoiser):
        return denoise.add_to_(total, x, x.new_full((len(x),), sigma), weight)
    return total.add_(_denoised(denoise, x, sigma), alpha=weight)


def _add_noise_(x: Float[Tensor, "B C T H W"], variance: float, generators: Sequence[torch.Generator]) -> None:
    """Add noise of this variance, drawn for each item from its own generator."""
    if len(generators) != len(x):
        raise ValueError(f"fresh noise needs one generator for each of {len(x)} items, got {len(generators)}")
    for item, generator in zip(x, generators, strict=True):
        noise = torch.randn(item.shape, dtype=x.dtype, generator=generator, device=generator.device)
        item.add_(noise.to(x.device), alpha=math.sqrt(variance))
