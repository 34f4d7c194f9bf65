"""Small pictures for the report's page."""

import base64

import cv2
import numpy as np

from data_prep.report.regions import Region
from data_prep.text.track import Box

# Largest height and width of a close-up, and most enlarged so many times: more shows no more; pixels.
_CLOSE_UP, _ZOOM = (150, 300), 6
# Width of the frame in which a region's place is drawn, and of the one in which masks are added, pixels.
_PLACE, _FRAME = 160, 480
# WebP quality at which compression is hardly visible; the pictures are half the size of JPEG's.
_QUALITY = 60
# Colour of an outline, red, green, blue.
_RED = (230, 40, 40)


def close_up(image: np.ndarray, region: Region) -> np.ndarray:
    """A region of a frame (RGB, uint8 `H W C`, analysed size), enlarged, with the outline of what is masked."""
    top, left, bottom, right = _with_margin(region.box, image.shape[:2])
    zoom = min(_ZOOM, _CLOSE_UP[0] / (bottom - top), _CLOSE_UP[1] / (right - left))
    drawn = _resized(image[top:bottom, left:right], zoom)
    area = np.zeros(image.shape[:2], np.uint8)
    area[region.box[0] : region.box[2], region.box[1] : region.box[3]] = region.area
    enlarged = cv2.resize(area[top:bottom, left:right], drawn.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(enlarged, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(drawn, outlines, -1, _RED, 1)


def place(image: np.ndarray, box: Box) -> np.ndarray:
    """The whole frame (RGB, uint8 `H W C`, analysed size), small, with the box drawn in."""
    scale = _PLACE / image.shape[1]
    top, left, bottom, right = (round(side * scale) for side in box)
    return cv2.rectangle(_resized(image, scale), (left, top), (right - 1, bottom - 1), _RED, 2)


def whole(image: np.ndarray) -> np.ndarray:
    """The frame (RGB, uint8 `H W C`) at the size at which masks are drawn into it."""
    return _resized(image, min(1.0, _FRAME / image.shape[1]))


def data_uri(image: np.ndarray) -> str:
    """A picture (RGB, uint8 `H W C`) as the `src` of an image."""
    _, packed = cv2.imencode(".webp", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return "data:image/webp;base64," + base64.b64encode(packed.tobytes()).decode()


def _with_margin(box: Box, size: tuple[int, ...]) -> Box:
    """The box and half as much again around it, at least 8 pixels at each side, inside the picture."""
    top, left, bottom, right = box
    margin = max(8, (bottom - top) // 2)
    return (max(0, top - margin), max(0, left - margin), min(size[0], bottom + margin), min(size[1], right + margin))


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_CUBIC)
