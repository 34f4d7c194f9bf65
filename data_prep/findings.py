"""What the analyses of a run's videos tell about the run as a whole: look-alikes, remarks, where the time went."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.fingerprint import near_twins
from data_prep.masking import Found
from data_prep.scan import Remark
from data_prep.stopwatch import total_seconds


def brief(found: Found) -> Found:
    """The parts of an analysis that are needed here: a run may have many thousands, and masks are large."""
    return {name: found[name] for name in ("frames", "probe", "fingerprint", "tickers", "seconds")}


def look_alikes(found: Mapping[Path, Found]) -> dict[Path, str]:
    """For each video that looks like an earlier one (by path), the sentence that says so."""
    prints = {str(p): (f["frames"] / f["probe"]["fps"], f["fingerprint"]) for p, f in sorted(found.items())}
    return {Path(twin): f"looks like {first}, only encoded otherwise" for twin, first in near_twins(prints).items()}


def remarks(found: Mapping[Path, Found]) -> list[Remark]:
    """What is unusual about the videos and was handled or should be looked at."""
    said = []
    for path, one in sorted(found.items()):
        said += [Remark(path, note) for note in one["probe"]["notes"]]
        spans = [(ticker["start"], ticker["end"]) for ticker in one["tickers"]]
        said += [Remark(path, "writing runs across the picture (a ticker?)", span) for span in spans]
    return said


def stage_seconds(records: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Processor seconds by stage, from the records of analyses and of what was stored."""
    return total_seconds(record.get("seconds", {}) for record in records)


def stage_shares(seconds: Mapping[str, float], frames: int) -> list[tuple[str, float, float]]:
    """Stage, share of the time, frames a second; the most costly first, the whole last."""
    total = sum(seconds.values())
    costly_first = sorted(seconds.items(), key=lambda item: -item[1])
    spent = [(stage, each) for stage, each in [*costly_first, ("all", total)] if each > 0]
    return [(stage, each / total, frames / each) for stage, each in spent]
