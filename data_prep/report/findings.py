"""What a run reports from the analyses of all its videos: near-duplicates, remarks, processing time."""

from collections.abc import Mapping

from data_prep.analysis_types import Brief
from data_prep.measure.fingerprint import near_twins
from data_prep.work.locations import Location
from data_prep.work.scan import Remark


def look_alikes(briefs: Mapping[Location, Brief]) -> dict[Location, str]:
    """For each video that looks like one before it (ordered by path), a sentence that says so."""
    by_name = {str(path): path for path in briefs}
    prints = {name: _print(briefs[by_name[name]]) for name in sorted(by_name)}
    twins = near_twins(prints)
    return {by_name[twin]: f"looks like {first}, but is encoded differently" for twin, first in twins.items()}


def _print(brief: Brief) -> tuple[float, str]:
    """Seconds and fingerprint."""
    return brief.frames / brief.fps, brief.fingerprint


def remarks(briefs: Mapping[Location, Brief]) -> list[Remark]:
    """What is unusual about the videos: what was handled, and what the user should look at."""
    said = []
    remarkable = [(path, one) for path, one in briefs.items() if one.notes or one.tickers]
    for path, one in sorted(remarkable, key=lambda item: str(item[0])):
        said += [Remark(path, note) for note in one.notes]
        said += [Remark(path, "text scrolls across the picture (a ticker?)", span) for span in one.tickers]
    return said


def stage_shares(seconds: Mapping[str, float], frames: int) -> list[tuple[str, float, float]]:
    """Stage, share of the time, frames per second: the slowest stage first, their sum last."""
    total = sum(seconds.values())
    costly_first = sorted(seconds.items(), key=lambda item: -item[1])
    spent = [(stage, each) for stage, each in [*costly_first, ("all", total)] if each > 0]
    return [(stage, each / total, frames / each) for stage, each in spent]
