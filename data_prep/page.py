"""The report as one self-contained HTML page: contact sheets with bars and masks drawn, verdicts, timelines."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from vidboot.data.files import write_atomic

# Pictures of a contact sheet in a row, and width of one, pixels.
COLUMNS, TILE = 4, 240
# What is drawn: masked pixels, bars, red, green, blue.
_MASK, _BAR = (230, 40, 40), (40, 110, 230)


@dataclass(frozen=True)
class VideoPage:
    """What the page shows of one video."""

    name: str
    found: dict[str, Any]
    width: int
    """Width of the source, pixels."""
    tiles: Sequence[tuple[int, np.ndarray]]
    """Number and `tile` of a few frames."""
    spans: Sequence[tuple[int, int, np.ndarray]]
    """First frame, frame after the last, and area (bool, of the analysed picture) of all that is masked."""
    verdicts: Sequence[tuple[int, int, str, str]]
    """First frame, frame after the last, verdict, reason of each shot."""


def tile(image: np.ndarray) -> np.ndarray:
    """A frame (RGB, uint8 `H W C`) at the size at which the page shows it."""
    height, width = image.shape[:2]
    return cv2.resize(image, (TILE, max(1, round(height * TILE / width))), interpolation=cv2.INTER_AREA)


def contact_sheet(page: VideoPage) -> np.ndarray:
    """The frames side by side, uint8 `H W C` RGB, masked pixels red and bars blue."""
    tiles = []
    for number, plain in page.tiles:
        drawn, tall = plain.copy(), plain.shape[0]
        covered = np.zeros(tuple(page.found["size"]), bool)
        for start, end, area in page.spans:
            if start <= number < end:
                covered |= area
        red = cv2.resize(covered.astype(np.float32), (TILE, tall), interpolation=cv2.INTER_AREA) > 0.25
        blue = np.ones((tall, TILE), bool)
        top, left, rows, columns = page.found["picture"]
        scale = TILE / page.width
        blue[
            round(top * scale) : round((top + rows) * scale), round(left * scale) : round((left + columns) * scale)
        ] = False
        for marked, colour in ((blue, _BAR), (red, _MASK)):
            drawn[marked] = (drawn[marked] * 0.4 + np.array(colour) * 0.6).astype(np.uint8)
        tiles.append(drawn)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[k : k + COLUMNS], axis=1) for k in range(0, len(tiles), COLUMNS)]
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
    """What the template needs of one video; small, so that many videos fit into memory."""
    _, jpeg = cv2.imencode(".jpg", contact_sheet(page)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return {
        "name": page.name,
        "frames": page.found["frames"],
        "verdicts": list(page.verdicts),
        "texts": [(t["start"], t["end"]) for t in page.found["texts"] if t["sure"]],
        "sheet": base64.b64encode(jpeg.tobytes()).decode(),
    }


def write_page(
    path: Path,
    blocks: Sequence[dict[str, Any]],
    set_aside: Sequence[Any],
    totals: Sequence[Any] = (),
    stages: Sequence[Any] = (),
) -> None:
    """Write the page, atomically.

    A block may have `remarks`, sentences; `totals` are view, verdict, shots and hours; `stages` are what
    `findings.stage_shares` gives.
    """
    text = _TEMPLATE.render(videos=blocks, set_aside=set_aside, totals=totals, stages=stages)
    write_atomic(path, text.encode())
