"""Pictures of judged clips to look at: masks in red, boxes in green (masked), yellow (missed) or grey (ignored)."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from judging import BOXES_HEIGHT, BOXES_WIDTH, MASKED, Found, Overlay, area, box_at

_GREEN, _YELLOW, _GREY, _RED = (0, 255, 0), (0, 255, 255), (160, 160, 160), (0, 0, 255)
# Frames of a clip that are drawn beside those that show an overlay or the most of false masks.
_SPREAD = 3
_MOST = 9


def draw(path: Path, found: Found, overlays: list[Overlay], result: dict[str, Any], folder: Path) -> None:
    """Write some frames of a clip as one PNG."""
    numbers = _numbers(found, overlays, result)
    tiles = []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in numbers:
                picture = cv2.resize(frame.to_ndarray(format="bgr24"), (BOXES_WIDTH, BOXES_HEIGHT))
                tiles.append(_tile(picture, number, found, overlays, result))
    folder.mkdir(parents=True, exist_ok=True)
    while len(tiles) % 3:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[start : start + 3]) for start in range(0, len(tiles), 3)]
    cv2.imwrite(str(folder / f"{'_'.join(path.parts[-2:])}.png"), np.vstack(rows))


def _numbers(found: Found, overlays: list[Overlay], result: dict[str, Any]) -> set[int]:
    """Frames to draw: the middle of each overlay's time, the one with the most of false masks, some spread over all."""
    last, numbers = max(0, found.frames - 1), {result["peak"][0]}
    for overlay in (overlay for overlay in overlays if not overlay.get("ignore")):
        start, end = overlay["start"] or 0, overlay["end"] or found.frames / found.fps
        numbers.add(min(last, round((start + end) / 2 * found.fps)))
    numbers |= {(2 * k + 1) * found.frames // (2 * _SPREAD) for k in range(_SPREAD)}
    return set(sorted(numbers)[:_MOST])


def _tile(
    picture: np.ndarray, number: int, found: Found, overlays: list[Overlay], result: dict[str, Any]
) -> np.ndarray:
    """A frame with its mask and boxes."""
    covered = cv2.resize(found.covered(number).astype(np.uint8), (BOXES_WIDTH, BOXES_HEIGHT)) > 0
    _darken(picture, found)
    picture[covered] = (0.5 * picture[covered] + 0.5 * np.array(_RED)).astype(np.uint8)
    judgements = iter(result["overlays"])
    for overlay in overlays:
        judgement = None if overlay.get("ignore") else next(judgements)
        box = box_at(overlay, number / found.fps)
        if box is not None:
            rows, columns = area(box, (BOXES_HEIGHT, BOXES_WIDTH))
            colour = _GREY if judgement is None else _GREEN if (judgement["share"] or 0) >= MASKED else _YELLOW
            cv2.rectangle(picture, (columns.start, rows.start), (columns.stop - 1, rows.stop - 1), colour, 1)
    said = next((shot[2] for shot in found.shots if shot[0] <= number < shot[1]), "left out")
    cv2.putText(picture, f"{number} {said}", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, f"{number} {said}", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _YELLOW, 1, cv2.LINE_AA)
    return picture


def _darken(picture: np.ndarray, found: Found) -> None:
    """What is cropped away is dark."""
    height, width = found.covered(0).shape
    top, left, rows, columns = found.kept
    down, across = BOXES_HEIGHT / height, BOXES_WIDTH / width
    kept_rows = slice(round(top * down), round((top + rows) * down))
    kept_columns = slice(round(left * across), round((left + columns) * across))
    outside = np.ones(picture.shape[:2], bool)
    outside[kept_rows, kept_columns] = False
    picture[outside] //= 4
