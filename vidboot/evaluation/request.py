"""What can be asked of `tools/evaluate.py`, with limits and defaults. Imports no torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from vidboot.options import Option
from vidboot.settings import Strict


class TheoryRequest(Strict):
    """`tools/evaluate.py theory`: the method's claims on Gaussian videos."""

    output: Annotated[Path, Option(metavar="DIR")]
    """Folder for the report."""
    seed: int = 0
    """Seed of the sampled videos."""


class RunRequest(Strict):
    """`tools/evaluate.py run`: what to measure, on which data, and where to put the report."""

    run: Annotated[Path, Option(metavar="DIR")]
    """Run folder that tools/train.py wrote."""
    manifest: Annotated[Path, Option(flag="--data", metavar="MANIFEST")]
    """Folder that tools/preprocess.py wrote."""
    output: Annotated[Path | None, Option(metavar="DIR")] = None
    """Folder for the report (default: evaluation, in the run folder)."""
    baselines: Annotated[tuple[Path, ...], Option(flag="--baseline", metavar="DIR")] = ()
    """Another run to measure beside it; may be given several times."""
    features: Annotated[Path | None, Option(metavar="FILE")] = None
    """TorchScript network or r3d_18 weights for the Fréchet distance (default: a small network trained on the run's own
    data)."""
    samples: Annotated[int, Field(ge=2), Option(metavar="K")] = 16
    """Videos to generate with each model; they are compared with as many real ones."""
    search: Annotated[PositiveInt, Option(metavar="N")] = 1000
    """Training shots to search for copies, at most: each is read once."""
    frames: Annotated[int, Field(ge=2)] | None = None
    """Frames of each generated video (default: the training length)."""
    steps: PositiveInt = 18
    """Sampler steps."""
    seed: int = 0
    """Seed of the first video; the others follow it."""

    @property
    def folder(self) -> Path:
        """Folder for the report."""
        return self.output or self.run / "evaluation"


class CurveRequest(Strict):
    """`tools/evaluate.py learning-curve`: how many full videos the method saves, on any data."""

    config: Annotated[Path, Option(metavar="FILE")]
    """YAML settings, as configs/learning_curve.yaml."""
    quick: bool = False
    """Apply the config's quick settings: a rough, early answer."""
    overrides: Annotated[tuple[str, ...], Option(metavar="key=value", positional=True)] = ()
    """Settings to change, for example output=DIR."""
