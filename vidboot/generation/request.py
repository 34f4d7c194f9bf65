"""What can be asked of `tools/generate.py` and of `vidboot.generate`, with limits and defaults. Imports no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from vidboot.options import Option
from vidboot.seeds import MOST_SEED
from vidboot.settings import Strict

MOST_FRAMES = 10**9
FPS = (0.01, 1000.0)
"""Lowest and highest frame rate."""
OBSERVED, SAMPLING = "what is known of the video", "how it is sampled"
"""Headings in the help."""

SamplerName = Literal["heun", "dpm2m", "euler"]
DEFAULTS: dict[str, Any] = {"steps": 18, "sampler": "heun", "draws": 1}
REPAIR_DEFAULTS: dict[str, Any] = {"steps": 3, "sampler": "dpm2m", "draws": 8}
"""Defaults where a damaged video is repaired and nothing else is asked for, by networks that were trained to be given
pixels. The result is close to the mean of what may be under the mask.

A sample differs from that mean about as much as the truth does, so its error is about twice that of the mean. With two
steps each draw would be the networks' prediction from noise alone; the step in between, at σ of about 4, adds what they
know at lower noise.
"""
MOMENT_ITERATIONS = 3
"""Default iterations of moment matching, for observations that the networks cannot be given."""


class SamplingOptions(Strict):
    """How a sample is drawn: sampler, number of steps, and how observed pixels are respected."""

    steps: Annotated[PositiveInt | None, Option(group=SAMPLING)] = None
    """Sampler steps (default: 18; 3 for --repair alone, which is nearest to the truth: more steps invent more)."""
    sampler: Annotated[SamplerName | None, Option(group=SAMPLING)] = None
    """Sampler (default: heun; dpm2m for --repair alone)."""
    iterations: Annotated[NonNegativeInt | None, Option(metavar="K", group=SAMPLING)] = None
    """Condition by K iterations of moment matching: more of them come nearer to the exact conditional distribution, and
    take longer; 0 uses the quick, biased range–null-space correction instead (default: 3; networks that were trained
    with data.context are given known pixels directly and need none)."""
    resampling: Annotated[PositiveInt, Option(metavar="K", group=SAMPLING)] = 1
    """Take each step K times, with the noise put back in between; used only where something is known."""
    draws: Annotated[PositiveInt | None, Option(metavar="K", group=SAMPLING)] = None
    """Return the mean of K draws, which is nearer to the truth if steps are few (default: 1; 8 for --repair alone)."""
    label: Annotated[NonNegativeInt | None, Option(hidden=True)] = None
    """Number of a class in the run's data.classes."""
    guidance: Annotated[float, Option(metavar="W", group=SAMPLING)] = 1.0
    """Scale of the classifier-free guidance towards the class: 0 ignores the class, above 1 exaggerates it."""
    churn: Annotated[NonNegativeFloat, Option(metavar="S", group=SAMPLING)] = 0.0
    """Noise that the sampler heun adds before each step, EDM's S_churn."""

    @model_validator(mode="after")
    def _churn_fits(self) -> "SamplingOptions":
        if self.churn and self.sampler not in (None, "heun"):
            raise ValueError(f"churn goes with the sampler heun only, not with {self.sampler}")
        return self


class GenerateRequest(SamplingOptions):
    """What to make, from what, into which file."""

    run: Annotated[Path, Option(metavar="DIR")]
    """Run folder that tools/train.py wrote, or its URL."""
    output: Path
    """File to write, or its URL: .mp4, .gif or .npy (float32 C T H W in [-1, 1]); without an ending, a folder of PNG
    frames."""
    frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)] | None = None
    """Number of frames, also beyond the training length (default: as many as the low-resolution or damaged video
    has)."""
    seed: Annotated[int, Option(metavar="N")] = 0
    """Seed of the noise; the same seed gives the same video."""
    samples: Annotated[PositiveInt, Option(metavar="K")] = 1
    """Number of samples, shown in a grid; each has its own seed: N, N + 1, …"""
    fps: Annotated[float, Field(ge=FPS[0], le=FPS[1])] | None = None
    """Frames per second (default: that of a video given below, else that of the training videos)."""
    lossless: bool = False
    """Keep the RGB values exactly in the mp4."""
    enlarge: Annotated[int, Field(ge=1, le=64), Option(metavar="K")] = 1
    """Write frames K times as high and wide, by bicubic interpolation."""
    stream: bool = False
    """Make the video chunk by chunk, in constant memory; the same command resumes after a kill."""
    max_batch_frames: PositiveInt | None = None
    """Frames that a network denoises at once (default: as in training)."""
    compile: bool = False
    """On a GPU run the networks as graphs of torch.compile, which take minutes to make: for long streams, many samples
    and many steps."""
    class_name: Annotated[str | None, Option(flag="--class")] = None
    """One of the run's classes (default: each sample draws one, unless something is known of it)."""
    init: Annotated[Path | None, Option(metavar="FILE", group=OBSERVED)] = None
    """Its first frames: a video, or an image."""
    low_res: Annotated[Path | None, Option(metavar="VIDEO", group=OBSERVED)] = None
    """Its low-resolution version."""
    repair: Annotated[Path | None, Option(metavar="SHOT", group=OBSERVED)] = None
    """A damaged version: a shot that preprocessing stored with its mask."""

    @model_validator(mode="after")
    def _goes_together(self) -> "GenerateRequest":
        if self.seed < 0 or self.seed + self.samples - 1 > MOST_SEED:
            raise ValueError(f"seeds are 0 to 2^63 − 1, got {self.seed} and {self.samples - 1} more")
        if (self.draws or 1) > 1 and (self.stream or not self.observed):
            raise ValueError(
                "--draws takes a mean, so it goes with --init, --low-res or --repair, and not with --stream"
            )
        if self.guidance != 1 and self.class_name is None:
            raise ValueError("--guidance needs --class, the class to guide towards")
        return self

    @property
    def observed(self) -> dict[str, Path]:
        """The files that say what is known of the video, by the name of their option."""
        files = {"init": self.init, "low_res": self.low_res, "repair": self.repair}
        return {name: path for name, path in files.items() if path is not None}

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each sample."""
        return tuple(range(self.seed, self.seed + self.samples))

    @property
    def only_repairs(self) -> bool:
        """Whether a damaged video is to be repaired and nothing else is asked for."""
        others = (self.frames, self.iterations, self.init, self.low_res)
        more = self.stream or self.churn or self.resampling > 1 or self.samples > 1
        return self.repair is not None and not more and all(one is None for one in others)


class ResolvedRequest(GenerateRequest):
    """A request with every default filled in: what exactly is made."""

    steps: PositiveInt
    sampler: SamplerName
    draws: PositiveInt
    frames: PositiveInt
    fps: float
    max_batch_frames: PositiveInt
