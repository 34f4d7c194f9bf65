"""Sampling videos from a trained model: of any length, conditioned on what is known, reproducible from a seed.

All frames are denoised together; `vidboot.generation.streaming` makes a video chunk by chunk instead.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from vidboot.config import NoiseConfig
from vidboot.data.display import Video, as_video
from vidboot.generation.classes import labels_of
from vidboot.generation.request import DEFAULTS, MOMENT_ITERATIONS, REPAIR_DEFAULTS, SamplerName, SamplingOptions
from vidboot.method.composition import Denoiser
from vidboot.method.conditioning import AnnealedConditioning, Corrected, MomentMatched, Observation
from vidboot.method.samplers import (
    SAMPLERS,
    OnStep,
    Sampler,
    do_nothing,
    initial_state,
    sample_heun,
    with_resampling,
)
from vidboot.model.video_model import VideoModel
from vidboot.seeds import torch_seed


class Sampling(SamplingOptions):
    """How a sample is drawn, with the library's default for each option that was not given.

    Raises `ValueError` for an unknown sampler, counts or numbers out of range, and churn without Heun.
    """

    steps: PositiveInt = DEFAULTS["steps"]
    sampler: SamplerName = DEFAULTS["sampler"]
    draws: PositiveInt = DEFAULTS["draws"]

    @classmethod
    def of(cls, options: SamplingOptions, model: VideoModel, only_repairs: bool = False) -> "Sampling":
        """The options that were given, and defaults for the rest.

        Whoever gives a number of steps for a repair wants a sample, not a mean: `draws` is then 1 by default.
        """
        given = {name: getattr(options, name) for name in SamplingOptions.model_fields}
        given = {name: value for name, value in given.items() if value is not None}
        defaults = REPAIR_DEFAULTS if only_repairs and model.config.data.context > 0 else DEFAULTS
        if "steps" in given:
            defaults = defaults | {"draws": DEFAULTS["draws"]}
        return cls(**defaults | given)

    def of_class(self, label: int | None) -> "Sampling":
        """The same for a class (None: for no class)."""
        return self.model_copy(update={"label": label})

    def schedule(self, noise: NoiseConfig, conditioned: bool) -> Float[Tensor, "levels"]:
        """The noise levels, from the largest of training down to 0."""
        return with_resampling(noise.karras_sigmas(self.steps), self.resampling if conditioned else 1)

    @property
    def run(self) -> Sampler:
        """The sampler; only Heun's method takes churn."""
        return partial(sample_heun, churn=self.churn) if self.churn else SAMPLERS[self.sampler]

    def denoiser(self, model: VideoModel, observation: Observation | None = None) -> Denoiser:
        """The model's denoiser D, conditioned on the class and the observation."""
        if observation is None:
            return self._guided(model, lambda m: m.denoise)
        blocks = observation.blocks is not None
        # Networks trained with context get known pixels, unless moment matching is requested; beside block means
        # always, as moment matching then does the rest.
        given = model.config.data.context > 0 and (self.iterations is None or blocks)
        denoise = self._guided(model, (lambda m: m.conditioned_on(observation)) if given else (lambda m: m.denoise))
        if given and not blocks:
            return denoise
        iterations = MOMENT_ITERATIONS if self.iterations is None else self.iterations
        return MomentMatched(denoise, observation, iterations) if iterations else Corrected(denoise, observation)

    def _guided(self, model: VideoModel, denoiser_of: Callable[[VideoModel], Denoiser]) -> Denoiser:
        """D_none + w (D_class − D_none) with w = `guidance` (classifier-free guidance, arXiv 2207.12598)."""
        of_none = denoiser_of(model)
        if self.label is None:
            return of_none
        of_class = denoiser_of(model.with_conditions(label=self.label))
        if self.guidance == 1:
            return of_class
        return lambda x, sigma: torch.lerp(of_none(x, sigma), of_class(x, sigma), self.guidance)


def initial_noise(shape_CTHW: Sequence[int], generators: Sequence[torch.Generator]) -> Float[Tensor, "B C T H W"]:
    """Standard normal noise. Each sample's generator draws it on the CPU: it is the same in any batch, on any
    device."""
    return torch.stack([torch.randn(tuple(shape_CTHW), generator=generator) for generator in generators])


def seeded(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator on the CPU for each seed."""
    return [torch.Generator().manual_seed(torch_seed(seed)) for seed in seeds]


def sample_seeds(
    model: VideoModel,
    num_frames: int,
    seeds: Sequence[int],
    sampling: Sampling,
    observation: Observation | None = None,
    on_step: OnStep = do_nothing,
) -> Float[Tensor, "B C T H W"]:
    """`sample` for each seed: in one batch if they are of one class, else one after another, as `steps_of` counts."""
    labels = labels_of(model, seeds, sampling.label, observation is not None)
    if len(set(labels)) == 1:
        return sample(model, num_frames, seeded(seeds), sampling.of_class(labels[0]), observation, on_step)
    before, videos = steps_of(model, seeds[:1], sampling), []
    for number, (seed, label) in enumerate(zip(seeds, labels, strict=True)):
        report = partial(_report, on_step, number * before)
        videos.append(sample(model, num_frames, seeded([seed]), sampling.of_class(label), observation, report))
    return torch.cat(videos)


def steps_of(model: VideoModel, seeds: Sequence[int], sampling: Sampling, known: bool = False) -> int:
    """How many steps `sample_seeds` tells of."""
    steps = len(sampling.schedule(model.config.noise, known)) - 1
    if known:  # then samples are drawn one after another
        return steps * len(seeds) * sampling.draws
    return steps * (len(seeds) if len(set(labels_of(model, seeds, sampling.label, known))) > 1 else 1)


def sample(
    model: VideoModel,
    num_frames: int,
    generators: Sequence[torch.Generator],
    sampling: Sampling,
    observation: Observation | None = None,
    on_step: OnStep = do_nothing,
    loose: Sequence[tuple[float, Observation]] = (),
) -> Float[Tensor, "B C T H W"]:
    """One sample for each generator, values in [-1, 1]; observed values come back exactly.

    `on_step` is as in `generate_videos`. `loose` lists noise levels, ascending, each with an observation that holds
    only above that level.
    """
    video = model.config.video
    sigmas = sampling.schedule(model.config.noise, observation is not None)
    shape = (3, num_frames, video.height, video.width)
    if observation is None:
        denoise = sampling.denoiser(model)
        x = initial_state(denoise, initial_noise(shape, generators).to(model.device), float(sigmas[0]))
        return sampling.run(denoise, x, sigmas, on_step, generators=generators).clamp_(-1, 1)
    observation = observation.to(model.device)
    held = [observation]
    for _, more in loose:
        held.append(held[-1] & more.to(model.device))
    denoisers = [sampling.denoiser(model, one) for one in held]
    denoise = AnnealedConditioning(denoisers, [level for level, _ in loose]) if loose else denoisers[0]
    videos = []
    # One at a time: gradients need the memory, and rounding in the linear solver must not depend on other samples.
    for number, generator in enumerate(generators):
        total = None
        for draw in range(sampling.draws):
            x = initial_state(denoise, initial_noise(shape, [generator]).to(model.device), float(sigmas[0]))
            before = (number * sampling.draws + draw) * (len(sigmas) - 1)
            report = partial(_report, on_step, before)
            x0 = sampling.run(denoise, x, sigmas, report, generators=[generator]).clamp_(-1, 1)
            total = x0 if total is None else total.add_(x0)
        assert total is not None  # there is at least one draw
        videos.append(observation.within_range(observation.impose(total.div_(sampling.draws))))
    return torch.cat(videos)


def _report(on_step: OnStep, before: int, step: int) -> None:
    on_step(before + step)


def generate_videos(
    model: VideoModel,
    num_frames: int,
    seeds: Sequence[int],
    *,
    observation: Observation | None = None,
    on_step: OnStep = do_nothing,
    **options: Any,
) -> Float[Tensor, "B C T H W"]:
    """Sample one video for each seed, values in [-1, 1]; `num_frames` may exceed the training length.

    Observed values (the same for all samples) come back exactly; `options` are those of `SamplingOptions`. Without a
    `label`, and with nothing observed, each seed draws its class. `on_step` is called with the number of sampler steps
    done; samples of an observation, or of several classes, are drawn one after another, and their steps add up. Raises
    `ValueError` for less than one frame, and as `Sampling` does.
    """
    if num_frames < 1:
        raise ValueError(f"a video has at least 1 frame, got {num_frames}")
    sampling = Sampling.of(SamplingOptions(**options), model)
    return sample_seeds(model, num_frames, seeds, sampling, observation, on_step)


def generate(model: VideoModel, num_frames: int, seed: int = 0, **options: Any) -> Video:
    """Sample a video of any number of frames: C T H W in [-1, 1]. A notebook shows it as a player.

    `options` are those of `generate_videos`: `steps`, `sampler`, `observation` and so on.
    """
    return as_video(generate_videos(model, num_frames, [seed], **options)[0].cpu(), model.fps)
