"""Making videos with a trained model: any length, given whatever is known, reproducible from a seed.

`generate` denoises all frames together (*joint*); `vidboot.generation.streaming` makes a video of any length piece by piece.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.method.composition import Denoiser
from vidboot.method.conditioning import Corrected, Known, Loosening, MomentMatched
from vidboot.method.edm import Noise
from vidboot.method.samplers import SAMPLERS, Sampler, initial_state, repeated
from vidboot.model.video_model import VideoModel

MOMENT_ITERATIONS = 3
"""Of moment matching, where the networks can't be told what is known."""


@dataclass(frozen=True)
class Sampling:
    """How a sample is drawn: sampler, number of steps, and how what is known is respected.

    Raises `ValueError` for an unknown sampler, counts or numbers out of range, and churn without Heun.
    """

    num_steps: int = 18
    sampler: str = "heun"
    iterations: int | None = None
    """Of moment matching, for what is known (0: the cheap range–null-space correction). None: networks that were
    trained with `data.context` are told of known pixels, and `MOMENT_ITERATIONS` do for all else. Pixels known beside a
    low-res version are told in any case."""
    repeats: int = 1
    """How often each step is taken, with the noise put back in between; used only where something is known."""
    draws: int = 1
    """How many times each sample is drawn, from other noise, for the mean of them; used only where something is known.
    With few steps each is near the mean of what may be there, and so is nearer to the truth than a sample is."""
    label: int | None = None
    """Number of a class in the run's `data.classes`."""
    guidance: float = 1.0
    """How far to go from the model without a class towards that of the class; beyond 1: past it."""
    churn: float = 0.0
    """Noise that Heun's method adds before each step: S_churn of Karras et al. 2022, Algorithm 2."""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"there is no sampler '{self.sampler}', only {', '.join(SAMPLERS)}")
        if min(self.num_steps, self.repeats, self.draws) < 1 or (self.iterations or 0) < 0:
            raise ValueError("steps, repeats and draws are at least 1, iterations at least 0")
        if not (0 <= self.churn < math.inf and math.isfinite(self.guidance)):
            raise ValueError("churn is a number from 0 up, and guidance one")
        if self.churn and self.sampler != "heun":
            raise ValueError(f"churn goes with the sampler 'heun' only, not with '{self.sampler}'")

    def schedule(self, noise: Noise, conditioned: bool) -> Float[Tensor, "steps+1"]:
        """The noise levels, from training's largest to 0."""
        return repeated(noise.steps(self.num_steps), self.repeats if conditioned else 1)

    @property
    def run(self) -> Sampler:
        """The sampler, with its churn if there is any."""
        run = SAMPLERS[self.sampler]
        return partial(run, churn=self.churn) if self.churn else run

    def denoiser(self, model: VideoModel, known: Known | None = None) -> Denoiser:
        """The model's D, given the class and what is known."""
        able = known is not None and model.config.data.context > 0
        told = able and (self.iterations is None or known.blocks is not None)
        denoise = self._guided(model, (lambda m: m.knowing(known)) if told else (lambda m: m.denoise))
        if known is None or (told and known.blocks is None):
            return denoise
        iterations = MOMENT_ITERATIONS if self.iterations is None else self.iterations
        return MomentMatched(denoise, known, iterations) if iterations else Corrected(denoise, known)

    def _guided(self, model: VideoModel, denoiser_of: Callable[[VideoModel], Denoiser]) -> Denoiser:
        """D_none + w (D_class − D_none) with w = `guidance` (classifier-free guidance, arXiv 2207.12598)."""
        of_none = denoiser_of(model)
        if self.label is None:
            return of_none
        of_class = denoiser_of(model.given(label=self.label))
        if self.guidance == 1:
            return of_class
        return lambda x, sigma: torch.lerp(of_none(x, sigma), of_class(x, sigma), self.guidance)


def initial_noise(shape_CTHW: Sequence[int], generators: Sequence[torch.Generator]) -> Float[Tensor, "B C T H W"]:
    """Standard normal noise, each sample from its own generator on the CPU: the same in any batch, on any device."""
    return torch.stack([torch.randn(tuple(shape_CTHW), generator=generator) for generator in generators])


PAINTING_OUT = Sampling(num_steps=3, sampler="dpm2m", draws=8)
"""For what is repaired and no more, by networks that are told: about the mean of what may be there.

A sample differs from that mean about as much as the truth does, so twice as much from the truth. With two steps each
draw is the mean that the networks see in noise alone; the one in between, at σ of about 4, is where they know more.
"""


def seeded(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator on the CPU for each sample."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def sample(
    model: VideoModel,
    num_frames: int,
    generators: Sequence[torch.Generator],
    sampling: Sampling,
    known: Known | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    loose: Sequence[tuple[float, Known]] = (),
) -> Float[Tensor, "B C T H W"]:
    """One sample for each generator, values in [-1, 1]; what is `known` comes back exactly.

    `known` and `on_step` are as in `generate`. Beside what is known, `loose` has what is taken for known too as long as
    the noise is above a level: levels, ascending, and what is let go at each.
    """
    video = model.config.video
    sigmas = sampling.schedule(model.config.noise, known is not None)
    shape = (3, num_frames, video.height, video.width)
    if known is None:
        denoise = sampling.denoiser(model)
        x = initial_state(denoise, initial_noise(shape, generators).to(model.device), float(sigmas[0]))
        return sampling.run(denoise, x, sigmas, on_step, generators=generators).clamp_(-1, 1)
    known = known.to(model.device)
    held = [known]
    for _, more in loose:
        held.append(held[-1] & more.to(model.device))
    denoisers = [sampling.denoiser(model, one) for one in held]
    denoise, videos = Loosening(denoisers, [level for level, _ in loose]) if loose else denoisers[0], []
    # One at a time: gradients need the memory, and what rounding does in conjugate residuals must not depend on others.
    for number, generator in enumerate(generators):
        mean = None
        for draw in range(sampling.draws):
            x = initial_state(denoise, initial_noise(shape, [generator]).to(model.device), float(sigmas[0]))

            def tell(step: int, before: int = (number * sampling.draws + draw) * (len(sigmas) - 1)) -> None:
                on_step(before + step)

            x0 = sampling.run(denoise, x, sigmas, tell, generators=[generator]).clamp_(-1, 1)
            mean = x0 if mean is None else mean.add_(x0)
        videos.append(known.within_range(known.impose(mean.div_(sampling.draws))))
    return torch.cat(videos)


def generate(
    model: VideoModel,
    num_frames: int,
    seeds: Sequence[int],
    num_steps: int = 18,
    on_step: Callable[[int], None] = lambda step: None,
    *,
    known: Known | None = None,
    **sampling: Any,
) -> Float[Tensor, "B C T H W"]:
    """Sample one video for each seed, values in [-1, 1]; `num_frames` may exceed the training length.

    What is `known` (the same for all) comes back exactly; `sampling` are the other settings of `Sampling`. `on_step` is
    told the number of sampler steps done, of all samples together where something is known. Raises `ValueError` for no
    frames, or as `Sampling` does.
    """
    if num_frames < 1:
        raise ValueError(f"a video has at least 1 frame, got {num_frames}")
    return sample(model, num_frames, seeded(seeds), Sampling(num_steps, **sampling), known, on_step)
