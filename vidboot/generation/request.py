"""What can be asked of `tools/generate.py` and of `vidboot.generate`, with limits and defaults. Imports no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from vidboot.options import Option
from vidboot.settings import Strict

MOST_FRAMES = 10**9
MOST_SEED = 2**32 - 1
"""PyTorch's generator on the CPU drops all higher bits."""
OBSERVED, SAMPLING = "what is known of the video", "how it is sampled"
"""Headings in the help."""


class SamplingOptions(Strict):
    """How a sample is drawn: sampler, number of steps, and how what is observed is respected."""

    steps: Annotated[PositiveInt | None, Option(group=SAMPLING)] = None
    """Sampler steps (default: 18; 3 for --repair alone, which is nearest to the truth: more steps invent more)."""
    sampler: Annotated[Literal["heun", "dpm2m", "euler"] | None, Option(group=SAMPLING)] = None
    """Sampler (default: heun; dpm2m for --repair alone)."""
    iterations: Annotated[NonNegativeInt | None, Option(metavar="K", group=SAMPLING)] = None
    """Condition by K iterations of moment matching: more is nearer to the exact conditional law, and slower; 0 replaces
    it by the quick, biased range–null-space correction (default: networks that were trained with data.context are given
    the pixels; for all else, 3)."""
    resampling: Annotated[PositiveInt, Option(metavar="K", group=SAMPLING)] = 1
    """Take each step K times, with the noise put back in between; used only where something is observed."""
    draws: Annotated[PositiveInt | None, Option(metavar="K", group=SAMPLING)] = None
    """The mean of K draws, which is nearer to the truth if steps are few (default: 1; 8 for --repair alone)."""
    label: Annotated[NonNegativeInt | None, Option(hidden=True)] = None
    """Number of a class in the run's data.classes."""
    guidance: Annotated[float, Option(metavar="W", group=SAMPLING)] = 1.0
    """Scale of the class's guidance: how far to go from no class towards the class; beyond 1: past it."""
    churn: Annotated[NonNegativeFloat, Option(metavar="S", group=SAMPLING)] = 0.0
    """Noise that the sampler heun adds before each step, the S_churn of EDM."""

    @model_validator(mode="after")
    def _churn_fits(self) -> "SamplingOptions":
        if self.churn and self.sampler not in (None, "heun"):
            raise ValueError(f"--churn goes with --sampler heun only, not with {self.sampler}")
        return self


class GenerateRequest(SamplingOptions):
    """What to make, from what, into which file."""

    run: Annotated[Path, Option(metavar="DIR")]
    """Run folder that tools/train.py wrote."""
    output: Path
    """File to write: .mp4, .gif or .npy (float32 C T H W in [-1, 1]); without ending: a folder of PNG frames."""
    frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)] | None = None
    """Number of frames; may exceed the training length (default: as many as the low-resolution or damaged video has)."""
    seed: Annotated[int, Option(metavar="N")] = 0
    """The same seed gives the same video."""
    samples: Annotated[PositiveInt, Option(metavar="K")] = 1
    """K samples in a grid, of seeds SEED, SEED + 1, …"""
    fps: float | None = None
    """Frames per second (default: that of a video given below, else of training)."""
    lossless: bool = False
    """Keep the RGB values exactly in the mp4."""
    stream: bool = False
    """Make the video chunk by chunk, in constant memory; resumes after a kill."""
    max_batch_frames: PositiveInt | None = None
    """Frames that a network denoises at once (default: as in training)."""
    class_name: Annotated[str | None, Option(flag="--class")] = None
    """One of the run's classes."""
    init: Annotated[Path | None, Option(metavar="FILE", group=OBSERVED)] = None
    """Its first frames: a video, or an image."""
    low_res: Annotated[Path | None, Option(metavar="VIDEO", group=OBSERVED)] = None
    """Its low-resolution version."""
    repair: Annotated[Path | None, Option(metavar="SHOT", group=OBSERVED)] = None
    """A damaged version: a shot that preprocessing stored with its mask."""

    @model_validator(mode="after")
    def _goes_together(self) -> "GenerateRequest":
        if self.seed < 0 or self.seed + self.samples - 1 > MOST_SEED:
            raise ValueError(f"seeds are 0 to 2^32 − 1, got {self.seed} and {self.samples - 1} more")
        if (self.draws or 1) > 1 and (self.stream or not self.observed):
            raise ValueError(
                "--draws takes a mean, so it goes with --init, --low-res or --repair, and not with --stream"
            )
        if self.guidance != 1 and self.class_name is None:
            raise ValueError("--guidance needs --class: it is the class that it guides towards")
        return self

    @property
    def observed(self) -> dict[str, Path]:
        """The files of what is known of the video, by option."""
        files = {"init": self.init, "low_res": self.low_res, "repair": self.repair}
        return {name: path for name, path in files.items() if path is not None}

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each sample."""
        return tuple(range(self.seed, self.seed + self.samples))

    @property
    def only_repairs(self) -> bool:
        """Whether a damaged video is to be painted out, and nothing else is asked for."""
        others = (self.frames, self.iterations, self.init, self.low_res)
        more = self.stream or self.churn or self.resampling > 1 or self.samples > 1
        return self.repair is not None and not more and all(one is None for one in others)

    def sampling(self) -> dict[str, Any]:
        """The settings among these that `SamplingOptions` has."""
        return {name: getattr(self, name) for name in SamplingOptions.model_fields}
