"""Footage with known burnt-in subtitles and logos, to measure what preprocessing finds. Not run by pytest."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

LATIN = [
    "I never thought it would come to this.",
    "Where are you going?\nWait for me!",
    "He said he'd be back by nine,\nbut it's past ten now.",
    "Quickly! Jump over the lazy dog.",
    "- Is that all?\n- No, there is more.",
    "Thirty-one ships left the harbour.",
    "What?!",
]
CJK = [
    "我从来没想过会变成这样。",
    "你要去哪里?等等我!",
    "他说九点之前会回来\n可是现在已经过了十点",
    "これで全部ですか",
    "三十一艘船离开了港口",
]


@dataclass(frozen=True)
class Style:
    """How subtitles look; lengths in pixels, `fade` in frames."""

    name: str
    fill: tuple[int, int, int]
    outline: int
    box: float
    """Opacity of the dark box behind the text, 0 for none."""
    cjk: bool = False
    fade: int = 0
    shadow: bool = False


STYLES = [
    Style("white outline", (255, 255, 255), 2, 0),
    Style("white outline fade", (255, 255, 255), 2, 0, fade=10),
    Style("yellow", (255, 230, 0), 1, 0),
    Style("dark box", (255, 255, 255), 0, 0.65),
    Style("black box", (255, 255, 255), 0, 1.0, fade=6),
    Style("cjk outline", (255, 255, 255), 2, 0, cjk=True),
    Style("cjk yellow", (250, 240, 60), 1, 0, cjk=True, fade=8),
    Style("white shadow", (245, 245, 245), 0, 0, shadow=True),
]


def find(folder: Path, name: str) -> Path | None:
    """The first file of that name below a folder."""
    return next(iter(sorted(folder.rglob(name))), None)


def picture(path: Path) -> np.ndarray:
    """A picture file as uint8 `H W C` RGB."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def load(path: Path, start: int, count: int, side: int = 640) -> np.ndarray:
    """Frames scaled to a longest side, even sizes, uint8 `T H W C`."""
    frames = []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= start + count:
                break
            if number >= start:
                shrink = side / max(frame.width, frame.height)
                size = (round(frame.width * shrink / 2) * 2, round(frame.height * shrink / 2) * 2)
                frames.append(cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def union(spans: Iterable[tuple[int, int, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """Everything that spans (first frame, frame after the last, covered pixels) cover, bool `T H W`."""
    covered = np.zeros(shape, bool)
    for start, end, area in spans:
        covered[start:end] |= area
    return covered


def glide(image: np.ndarray, count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Frames of a camera that pans and zooms over a picture, uint8 `T H W C`."""
    generator = np.random.default_rng(seed)
    height, width = image.shape[:2]
    zooms, xs, ys = (
        np.linspace(*generator.uniform(low, high, 2), count) for low, high in [(0.45, 0.8), (0, 1), (0, 1)]
    )
    frames = []
    for zoom, x, y in zip(zooms, xs, ys, strict=True):
        wide = zoom * min(width, height * size[1] / size[0])
        tall = wide * size[0] / size[1]
        left, top = x * (width - wide), y * (height - tall)
        matrix = np.array([[wide / size[1], 0, left], [0, tall / size[0], top]])
        frames.append(cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    return np.stack(frames)


def text_layer(
    size: tuple[int, int], text: str, style: Style, font_path: str, height_share: float, low: float
) -> np.ndarray:
    """The text as RGBA, uint8 `H W 4`; the bottom of its last line is at `low` times the height."""
    height, width = size
    font = ImageFont.truetype(font_path, round(height_share * height))
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    options = {"font": font, "anchor": "md", "align": "center", "stroke_width": style.outline}
    at = (width / 2, low * height)
    if style.box:
        left, top, right, bottom = draw.multiline_textbbox(at, text, **options)
        draw.rectangle((left - 8, top - 6, right + 8, bottom + 6), fill=(0, 0, 0, round(255 * style.box)))
    if style.shadow:
        draw.multiline_text((at[0] + 2, at[1] + 2), text, fill=(0, 0, 0, 200), **options)
    top_layer = Image.new("RGBA", (width, height))
    ImageDraw.Draw(top_layer).multiline_text(at, text, fill=(*style.fill, 255), stroke_fill=(0, 0, 0, 255), **options)
    return np.asarray(Image.alpha_composite(layer, top_layer))


def burn(
    frames: np.ndarray, layer: np.ndarray, start: int, end: int, fade: int, covered: np.ndarray, alpha: float = 1.0
) -> None:
    """Draw a layer onto frames in place, fading in and out; sets `covered` where a pixel changes by more than 8."""
    for t in range(max(0, start), min(end, len(frames))):
        level = alpha * min(1.0, (t - start + 1) / (fade + 1), (end - t) / (fade + 1))
        opacity = layer[..., 3:] / 255 * level
        mixed = np.round(frames[t] * (1 - opacity) + layer[..., :3] * opacity).astype(np.uint8)
        covered[t] |= (np.abs(mixed.astype(int) - frames[t]) > 8).any(axis=-1)
        frames[t] = mixed


def encode(path: Path, frames: np.ndarray, crf: int, rate: int = 25) -> None:
    """Write H.264 with settings like those of web videos."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast", "threads": "1"}
        )
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
