"""What a run reports from the analyses of all its videos: near-duplicates, remarks, processing time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.analysis_types import Analysis
from data_prep.measure.fingerprint import near_twins
from data_prep.work.scan import Remark
from vidboot.data.manifest import Shot


def brief(analysis: Analysis) -> Analysis:
    """An analysis without what is not needed here: a run may have thousands of videos, and masks are large."""
    return replace(analysis, spans=(), segments=(), texts=(), overlays=())


def look_alikes(analyses: Mapping[Path, Analysis]) -> dict[Path, str]:
    """For each video that looks like one before it (ordered by path), a sentence that says so."""
    prints = {str(p): (f.frames / f.probe.fps, f.fingerprint) for p, f in sorted(analyses.items())}
    return {Path(twin): f"looks like {first}, but is encoded differently" for twin, first in near_twins(prints).items()}


def remarks(analyses: Mapping[Path, Analysis]) -> list[Remark]:
    """What is unusual about the videos: what was handled, and what the user should look at."""
    said = []
    for path, one in sorted(analyses.items()):
        said += [Remark(path, note) for note in one.probe.notes]
        spans = [(ticker.start, ticker.end) for ticker in one.tickers]
        said += [Remark(path, "text scrolls across the picture (a ticker?)", span) for span in spans]
    return said


def hours_of(shots: Sequence[Shot]) -> float:
    """The hours that shots last together."""
    return sum(shot.num_frames / shot.fps for shot in shots) / 3600


def stage_shares(seconds: Mapping[str, float], frames: int) -> list[tuple[str, float, float]]:
    """Stage, share of the time, frames per second: the slowest stage first, their sum last."""
    total = sum(seconds.values())
    costly_first = sorted(seconds.items(), key=lambda item: -item[1])
    spent = [(stage, each) for stage, each in [*costly_first, ("all", total)] if each > 0]
    return [(stage, each / total, frames / each) for stage, each in spent]
