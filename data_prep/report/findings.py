"""What a run reports from the analyses of all its videos: near-duplicates, remarks, processing time."""

from collections.abc import Mapping, Sequence

from data_prep.analysis_types import Brief
from data_prep.measure.fingerprint import near_twins
from data_prep.work.locations import Location
from data_prep.work.scan import Remark

Briefs = Sequence[tuple[Location, Brief]]
"""What was found in videos, with their paths, in the order of these."""


def look_alikes(briefs: Briefs) -> dict[Location, str]:
    """For each video that looks like one before it, a sentence that says so."""
    twins = near_twins((one.frames / one.fps, one.fingerprint) for _, one in briefs)
    return {
        briefs[twin][0]: f"looks like {briefs[first][0]}, but is encoded differently" for twin, first in twins.items()
    }


def remarks(briefs: Briefs) -> list[Remark]:
    """What is unusual about the videos: what was handled, and what the user should look at."""
    said = []
    for path, one in briefs:
        said += [Remark(path, note) for note in one.notes]
        said += [Remark(path, "text scrolls across the picture (a ticker?)", span) for span in one.tickers]
    return said


def stage_shares(seconds: Mapping[str, float], frames: int) -> list[tuple[str, float, float]]:
    """Stage, share of the time, frames per second: the slowest stage first, their sum last."""
    total = sum(seconds.values())
    costly_first = sorted(seconds.items(), key=lambda item: -item[1])
    spent = [(stage, each) for stage, each in [*costly_first, ("all", total)] if each > 0]
    return [(stage, each / total, frames / each) for stage, each in spent]
