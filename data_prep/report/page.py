"""The report as one self-contained HTML page: contact sheets that show bars and masks, verdicts, timelines."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from data_prep.analysis_types import Analysis
from vidboot.data.files import write_atomic

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


_TEMPLATE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>vidboot: preprocessing report</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222 }
h2 { border-top: 1px solid #ccc; padding-top: .8em; overflow-wrap: anywhere }
img { max-width: 100% }
table { border-collapse: collapse } td, th { text-align: left; padding: .15em .8em .15em 0; vertical-align: top }
.clean { color: #17722c } .masked { color: #a11 } .uncertain { color: #96690a }
svg { width: 100%; height: 28px; background: #eee }
</style></head><body>
<h1>Preprocessing report</h1>
<p>Masked pixels are red, bars are blue. In the timelines, boxes are shots in the colour of their verdict and red lines
are texts.</p>
{% if totals %}<table><tr><th>view</th><th>verdict</th><th>shots</th><th>hours</th></tr>
{% for view, verdict, shots, hours in totals %}
<tr><td>{{ view }}</td><td class="{{ verdict }}">{{ verdict }}</td>
<td>{{ shots }}</td><td>{{ "%.3f"|format(hours) }}</td></tr>
{% endfor %}</table>{% endif %}
{% if stages %}<table><tr><th>stage</th><th>share of the time</th><th>frames/s of one core</th></tr>
{% for stage, share, rate in stages %}
<tr><td>{{ stage }}</td><td>{{ "%.0f"|format(100 * share) }} %</td><td>{{ "%.0f"|format(rate) }}</td></tr>
{% endfor %}</table>{% endif %}
{% for video in videos %}
<h2>{{ video.name }}</h2>
{% for remark in video.remarks %}<p>{{ remark }}</p>
{% endfor %}
<img alt="frames of {{ video.name }} with what was found drawn in" src="data:image/jpeg;base64,{{ video.sheet }}">
<svg viewBox="0 0 {{ video.frames }} 28" preserveAspectRatio="none" role="img" aria-label="timeline">
{% for start, end, verdict, reason in video.verdicts %}
<rect class="{{ verdict }}" x="{{ start }}" y="2" width="{{ end - start }}" height="10" fill="currentColor"/>
{% endfor %}
{% for start, end in video.texts %}
<rect x="{{ start }}" y="18" width="{{ end - start }}" height="5" fill="#c33"/>
{% endfor %}
</svg>
<table>{% for start, end, verdict, reason in video.verdicts %}
<tr><td>{{ start }} to {{ end }}</td><td class="{{ verdict }}">{{ verdict }}</td><td>{{ reason }}</td></tr>
{% endfor %}</table>
{% endfor %}
{% if set_aside %}<h2>Set aside</h2><table>
{% for item in set_aside %}<tr><td>{{ item.what }}</td><td>{{ item.reason }}</td></tr>
{% endfor %}</table>{% endif %}
</body></html>
""")


def video_block(page: VideoPage) -> dict[str, Any]:
    """What the template needs to know about one video; small, so that many videos fit into memory."""
    _, jpeg = cv2.imencode(".jpg", contact_sheet(page)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return {
        "name": page.name,
        "frames": page.analysis.frames,
        "verdicts": list(page.verdicts),
        "texts": [(t.start, t.end) for t in page.analysis.texts if t.sure],
        "sheet": base64.b64encode(jpeg.tobytes()).decode(),
    }


def write_page(
    path: Path,
    blocks: Sequence[dict[str, Any]],
    set_aside: Sequence[Any],
    totals: Sequence[Any] = (),
    stages: Sequence[Any] = (),
) -> None:
    """Write the page atomically.

    `blocks` come from `video_block`, and may have `remarks` (sentences); a row of `totals` is view, verdict, shots,
    hours; `stages` come from `findings.stage_shares`.
    """
    text = _TEMPLATE.render(videos=blocks, set_aside=set_aside, totals=totals, stages=stages)
    write_atomic(path, text.encode())
