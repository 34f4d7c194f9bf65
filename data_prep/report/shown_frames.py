"""Which frames of a video the report shows."""

from data_prep.analysis_types import Analysis
from data_prep.config import Preprocess
from data_prep.report.regions import Shots, masked_regions
from data_prep.work.locations import Location

# Frames of a video in its contact sheet: so many spread over it, and at most as many that show texts.
_SHEET = 4
# Most shots of a video in which masks can be drawn, at about 10 kB each; others have masks by their frames' numbers.
_DRAWABLE = 12


def sheet_numbers(analysis: Analysis, shots: Shots) -> list[int]:
    """The contact sheet's frames: some spread over the shots, and the middle frames of some texts."""
    inside = [n for start, end, _ in shots for n in range(start, end)] or list(range(analysis.frames))
    spread = [inside[(2 * k + 1) * len(inside) // (2 * _SHEET)] for k in range(_SHEET)]
    kept = set(inside)
    texts = [(t.start + t.end) // 2 for t in analysis.texts if t.sure]
    return sorted({*spread, *[n for n in texts if n in kept][:_SHEET]})


def drawable(shots: Shots) -> list[tuple[int, int, int]]:
    """The frames in which masks can be drawn: number, first frame of the shot, frame after its last."""
    count = min(len(shots), _DRAWABLE)
    some = [shots[(2 * k + 1) * len(shots) // (2 * count)] for k in range(count)]
    return [((start + end) // 2, start, end) for start, end, _ in some]


def wanted_numbers(analysis: Analysis, source: Location, settings: Preprocess, shots: Shots) -> list[int]:
    """All frames that the report shows, whatever masks the user has: they change later."""
    unchanged = settings.model_copy(update={"masks": []})
    regions = masked_regions(analysis, None, source, unchanged, shots).shown
    middles = [region.middle(shots) for region in regions]
    return sorted({*sheet_numbers(analysis, shots), *middles, *(number for number, _, _ in drawable(shots))})
