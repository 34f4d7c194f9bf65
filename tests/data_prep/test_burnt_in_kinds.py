"""What users met with other tools: things burnt in that move, change or are all over the picture, on real film.

None may be called clean, nor masked while most of it is not.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import TRAILER, write
from PIL import Image, ImageDraw, ImageFont

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.masking import Coverage, mostly_left, verdict
from data_prep.video.decode import probe
from vidboot.data.video import read_frames

FRAMES, HEIGHT, WIDTH = 96, 216, 384
SETTINGS = Preprocess(text={"detector": "opencv"})
Burn = Callable[[np.ndarray, int], None]
"""Draws what is burnt into a frame (RGB, in place), given its number."""


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A shot of the trailer in which the camera moves, enlarged."""
    frames = read_frames(TRAILER, range(594, 594 + FRAMES))
    return np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for frame in frames])


def word(text: str, size: int, outline: int = 0, angle: float = 0) -> np.ndarray:
    """White letters as RGBA."""
    made = Image.new("RGBA", (size * len(text) + 20, 3 * size))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(made).text((8, 8), text, "white", font=font, stroke_width=outline, stroke_fill="black")
    return np.asarray(made.crop(made.getbbox()).rotate(angle, Image.Resampling.BICUBIC, expand=True))


def lay(frame: np.ndarray, look: np.ndarray, x: float, y: float, opacity: float = 1.0) -> None:
    """Draw a look on a frame, with its corner at (x, y); it may lie partly outside."""
    left, top = round(x), round(y)
    rows = np.arange(HEIGHT)[max(0, top) : max(0, top + look.shape[0])]
    columns = np.arange(WIDTH)[max(0, left) : max(0, left + look.shape[1])]
    part, under = look[np.ix_(rows - top, columns - left)], frame[np.ix_(rows, columns)]
    alpha = part[..., 3:] / 255 * opacity
    frame[np.ix_(rows, columns)] = np.round(under * (1 - alpha) + part[..., :3] * alpha)


def told(path: Path, scene: np.ndarray, burn: Burn) -> tuple[str, float]:
    """The verdict on the scene with something burnt in, and the share of this that is masked."""
    frames = scene.copy()
    for number, frame in enumerate(frames):
        burn(frame, number)
    write(path, frames, crf="20")
    found, _ = analyse(path, probe(path), SETTINGS)
    (span,) = [(one.start, one.end) for one in found.spans]
    coverage = Coverage(found, None, path, SETTINGS)
    masked = coverage.of(range(*span))
    covered = np.zeros(frames.shape[:3], bool)
    for start, end, area in masked:
        covered[start:end] |= area
    truth = (frames != scene).any(axis=-1)
    left = bool(masked) and mostly_left(coverage, span)
    return verdict(found, False, span, bool(masked), left)[0], float((truth & covered).sum() / truth.sum())


def tiles(text: str, pitch: tuple[int, int], opacity: float, angle: float = 0, shifted: bool = True) -> Burn:
    """A word again and again, `pitch` apart in x and y; each second row is shifted by half of it."""
    look = word(text, 18, angle=angle)

    def burn(frame: np.ndarray, number: int) -> None:
        for row, y in enumerate(range(-20, HEIGHT, pitch[1])):
            for x in range(-pitch[0] - (pitch[0] // 2 if shifted and row % 2 else 0), WIDTH, pitch[0]):
                lay(frame, look, x + 31, y, opacity)

    return burn


@pytest.mark.parametrize(
    "burn",
    [
        tiles("sample", (110, 50), 0.3),
        tiles("PREVIEW", (130, 62), 0.2, angle=30),
        tiles("copy only", (120, 75), 0.45, angle=45, shifted=False),
    ],
)
def test_a_watermark_all_over_the_picture_is_masked_or_told(scene, tmp_path, burn):
    said, share = told(tmp_path / "a.mp4", scene, burn)
    assert said == "uncertain" or (said == "masked" and share > 0.5)


@pytest.mark.parametrize("milliseconds", [150, 300, 600])
def test_captions_that_change_word_by_word_are_masked(scene, tmp_path, milliseconds):
    looks = [word(text, 26, 2) for text in ("they", "never", "came", "back", "to", "our", "house")]
    every = milliseconds / 1000 * 24

    def burn(frame: np.ndarray, number: int) -> None:
        look = looks[int(number / every) % len(looks)]
        lay(frame, look, (WIDTH - look.shape[1]) / 2, 150)

    said, share = told(tmp_path / "a.mp4", scene, burn)
    assert said == "masked" and share > 0.8


def flying(frame: np.ndarray, number: int) -> None:
    """Comments in six lines, each at its own speed, from right to left."""
    for line in range(6):
        look = word(f"so good {line} !!", 15, 1)
        lay(frame, look, WIDTH + 20 * line - (3 + 0.5 * line) * number, 8 + 20 * line)


def rolling(frame: np.ndarray, number: int) -> None:
    """Credits that roll up the middle."""
    for line in range(14):
        lay(frame, word(f"Camera  Jane Doe {line}", 16), 110, HEIGHT + 26 * line - 3 * number)


def bouncing(frame: np.ndarray, number: int) -> None:
    """A mark that drifts and turns back at the edges."""
    look = word("TV7", 34)
    room = WIDTH - look.shape[1], HEIGHT - look.shape[0]
    lay(
        frame,
        look,
        *(side - abs(side - (40 + way * number) % (2 * side)) for side, way in zip(room, (2.5, 1.7), strict=True)),
    )


@pytest.mark.parametrize("burn", [flying, rolling, bouncing])
def test_what_moves_over_the_picture_is_never_clean(scene, tmp_path, burn):
    said, share = told(tmp_path / "a.mp4", scene, burn)
    assert said == "uncertain" or (said == "masked" and share > 0.5)


def test_the_scene_alone_is_clean(scene, tmp_path):
    def burn(frame: np.ndarray, number: int) -> None:
        if number == 0:
            frame[0, 0] ^= 1  # `told` asks for a share of something

    assert told(tmp_path / "a.mp4", scene, burn)[0] == "clean"
