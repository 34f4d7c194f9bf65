"""What the analyses of a run's videos tell about the run as a whole: look-alikes, remarks, where the time went."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.likeness import near_twins
from data_prep.masking import Found
from data_prep.scan import Remark


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
        said += [Remark(str(path), note) for note in one["probe"]["notes"]]
        said += [
            Remark(f"{path} frames {t['start']} to {t['end']}", "writing runs across the picture (a ticker?)")
            for t in one["tickers"]
        ]
    return said


def stage_seconds(records: Iterable[dict[str, Any]]) -> Counter[str]:
    """Processor seconds by stage, from the records of analyses and of what was stored."""
    total: Counter[str] = Counter()
    for record in records:
        total.update(record.get("seconds", {}))
    return total
