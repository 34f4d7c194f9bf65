"""The report as one self-contained HTML page: contact sheets that show bars and masks, verdicts, timelines."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.analysis_types import Analysis
from data_prep.config import Preprocess
from data_prep.report.edits import mask_line, pattern_of, settings_for_page
from data_prep.report.pictures import close_up, data_uri, place, whole
from data_prep.report.regions import Region, Regions, Shots, source_box
from data_prep.work.locations import Location
from data_prep.work.scan import Remark
from vidboot.data.files import atomic_path
from vidboot.pages import template

# Pictures per row of a contact sheet, and width of one, pixels.
_COLUMNS, _TILE = 4, 240
# Colours (red, green, blue) of masked pixels and of bars.
_MASK, _BAR = (230, 40, 40), (40, 110, 230)


@dataclass(frozen=True)
class VideoPage:
    """What the page shows about one video."""

    name: str
    analysis: Analysis
    width: int
    """Width of the source, pixels."""
    tiles: Sequence[tuple[int, np.ndarray]]
    """Number and `tile` of a few frames."""
    pictures: Mapping[int, np.ndarray]
    """By number, frames in which regions are shown and masks can be added: RGB, uint8 `H W C`, analysed size."""
    drawable: Sequence[tuple[int, int, int]]
    """Masks can be added in these: number of a frame; first frame of its shot, frame after the last."""
    regions: Regions
    shots: Shots
    spans: Sequence[tuple[int, int, np.ndarray]]
    """Everything masked: first frame, frame after the last, area (bool, at the size of the analysis)."""
    verdicts: Sequence[tuple[int, int, str, str]]
    """For each shot: first frame, frame after the last, verdict, reason."""


def tile(image: np.ndarray) -> np.ndarray:
    """A frame (RGB, uint8 `H W C`), shrunk for the page."""
    height, width = image.shape[:2]
    return cv2.resize(image, (_TILE, max(1, round(height * _TILE / width))), interpolation=cv2.INTER_AREA)


def contact_sheet(page: VideoPage) -> np.ndarray:
    """The frames side by side, uint8 `H W C` RGB, with masked pixels red and bars blue."""
    tiles = []
    for number, plain in page.tiles:
        drawn, tall, scale = plain.copy(), plain.shape[0], _TILE / page.width
        covered = np.zeros(page.analysis.size, bool)
        for start, end, area in page.spans:
            if start <= number < end:
                covered |= area
        red = cv2.resize(covered.astype(np.float32), (_TILE, tall), interpolation=cv2.INTER_AREA) > 0.25
        blue = np.ones((tall, _TILE), bool)
        top, left, height, width = page.analysis.picture_at(number)
        inside = np.s_[
            round(top * scale) : round((top + height) * scale), round(left * scale) : round((left + width) * scale)
        ]
        blue[inside] = False
        for marked, colour in ((blue, _BAR), (red, _MASK)):
            drawn[marked] = (drawn[marked] * 0.4 + np.array(colour) * 0.6).astype(np.uint8)
        tiles.append(drawn)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
    rows = [np.concatenate(tiles[k : k + _COLUMNS], axis=1) for k in range(0, len(tiles), _COLUMNS)]
    return np.concatenate(rows)


# The page and its script are files beside this one.
_TEMPLATE = template(Path(__file__).with_name("page.html"))
_KINDS = {"text": "text", "overlay": "overlay", "own": "your own mask", "removed": "taken away by you"}


def video_block(page: VideoPage) -> dict[str, Any]:
    """What the template needs to know about one video; small, so that many videos fit into memory."""
    _, jpeg = cv2.imencode(".jpg", contact_sheet(page)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    probe, numbers = page.analysis.probe, sorted(page.pictures)
    return {
        "name": page.name,
        "frames": page.analysis.frames,
        "verdicts": list(page.verdicts),
        "texts": [(t.start, t.end) for t in page.analysis.texts if t.sure],
        "sheet": base64.b64encode(jpeg.tobytes()).decode(),
        "size": [probe.height, probe.width],
        "regions": [_card(region, page, numbers) for region in page.regions.shown],
        "small": page.regions.small,
        "outside": page.regions.outside,
        "more": page.regions.more,
        "shots": [
            {"number": number, "start": start, "end": end, "picture": data_uri(whole(page.pictures[number]))}
            for number, start, end in page.drawable
        ],
    }


def _card(region: Region, page: VideoPage, numbers: Sequence[int]) -> dict[str, Any]:
    """What the template needs to know about a region; its pictures are of the frame nearest to its middle."""
    middle, fps = region.middle(page.shots), page.analysis.probe.fps
    number = min(numbers, key=lambda one: (not region.start <= one < region.end, abs(one - middle)))
    image = page.pictures[number]
    by_rules = "" if region.mask is not None else "rules only"
    return {
        "kind": _KINDS[region.kind],
        "away": region.kind == "removed",
        "own": None if region.mask is None else mask_line(region.mask),
        "start": region.start,
        "end": region.end,
        "seconds": f"{region.start / fps:.1f} to {region.end / fps:.1f} s",
        "number": number,
        "box": source_box(region.box, page.analysis),
        "certainty": by_rules if region.probability is None else f"{region.probability:.0%}".replace("%", " %"),
        "why": region.why,
        "close_up": data_uri(close_up(image, region)),
        "place": data_uri(place(image, region.box)),
    }


def with_remarks(blocks: Iterable[tuple[dict[str, Any], Location]], said: Iterable[Remark]) -> Iterator[dict[str, Any]]:
    """Blocks as `write_page` takes them, with what is said of each video; given are `video_block` and path of each."""
    sentences: dict[Location, list[str]] = defaultdict(list)
    for one in said:
        sentences[one.path].append(f"frames {one.frames[0]} to {one.frames[1]}: {one.text}" if one.frames else one.text)
    for block, path in blocks:
        # The file may have been renamed since it was stored.
        yield {**block, "name": path.name, "pattern": pattern_of(path), "remarks": sentences.get(path, [])}


def write_page(
    path: Path,
    blocks: Iterable[dict[str, Any]],
    settings: Preprocess,
    set_aside: Sequence[Any] = (),
    totals: Sequence[Any] = (),
    stages: Sequence[Any] = (),
) -> None:
    """Write the page atomically, video by video: its pictures take more memory than all else.

    `blocks` come from `video_block`; `with_remarks` gives them sentences, and a pattern that only this video fits, so
    that its masks can be changed. `settings` are those of the run. A row of `totals` is view, verdict, shots, hours;
    `stages` come from `findings.stage_shares`.
    """
    kept = settings_for_page(settings)
    parts = _TEMPLATE.generate(videos=blocks, set_aside=set_aside, totals=totals, stages=stages, settings=kept)
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
