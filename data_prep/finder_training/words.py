"""Letters of many scripts, as pictures: random words in random fonts and styles."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from fontTools.ttLib import TTCollection, TTFont
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from vidboot.errors import UserError

# Alphabets (first and last code point) and how often each is drawn, among those that a font has.
_SCRIPTS = {
    "latin": ((0x61, 0x7A), 10.0),
    "greek": ((0x3B1, 0x3C9), 0.5),
    "cyrillic": ((0x430, 0x44F), 2.0),
    "hebrew": ((0x5D0, 0x5EA), 0.7),
    "arabic": ((0x627, 0x64A), 1.0),
    "devanagari": ((0x905, 0x939), 1.0),
    "bengali": ((0x985, 0x9B9), 0.4),
    "tamil": ((0xB85, 0xBB9), 0.4),
    "thai": ((0xE01, 0xE2E), 0.8),
    "kana": ((0x3041, 0x3093), 1.0),
    "hangul": ((0xAC00, 0xD7A3), 2.0),
    "han": ((0x4E00, 0x6FFF), 3.0),
}
# Relative frequencies of English letters (Lewand 2000), so that words look like words.
_LATIN = dict(zip("etaoinshrdlcumwfgypbvkjxqz", (127, 91, 82, 75, 70, 67, 63, 61, 60, 43, 40, 28, 28, 24, 24, 22, 20,
                                                 20, 19, 15, 10, 8, 2, 2, 1, 1), strict=True))  # fmt: skip


# From this opacity on, what is drawn counts as ink: the edge of a soft shadow does not.
INK = 0.12


@dataclass(frozen=True)
class Look:
    """A piece of drawing."""

    colour: np.ndarray
    """BGR float32 `h w 3`, 0 to 255."""
    alpha: np.ndarray
    """Opacity, float32 `h w`, 0 to 1."""
    area: np.ndarray
    """The area that it takes, gaps between letters included: bool `h w`."""

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> "Look":
        """The look with its three parts cut, padded or tiled alike."""
        return Look(change(self.colour), change(self.alpha), change(self.area))

    def warped(self, change: Callable[[np.ndarray], np.ndarray], least: float = 0.5) -> "Look":
        """The look with its three parts resampled alike; the area is what covers a share `least` of a pixel."""
        colours, alpha, area = (change(part) for part in (self.colour, self.alpha, self.area.astype(np.float32)))
        return Look(colours, alpha, area > least)

    def cut(self, rows: slice, columns: slice) -> "Look":
        """A part of it."""
        return self.each(lambda part: part[rows, columns])

    def padded(self, rows: tuple[int, int], columns: tuple[int, int]) -> "Look":
        """With so much nothing around it."""
        return self.each(lambda part: np.pad(part, (rows, columns, (0, 0))[: part.ndim]))


@lru_cache(maxsize=512)
def scripts_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The letters of each known script that a font has."""
    opened = TTCollection(path).fonts[0] if path.suffix == ".ttc" else TTFont(path, fontNumber=0, lazy=True)
    have = set(opened.getBestCmap() or ())
    found = {name: tuple(c for c in range(a, b + 1) if c in have) for name, ((a, b), _) in _SCRIPTS.items()}
    return {name: letters for name, letters in found.items() if len(letters) > 0.8 * min(200, _length(name))}


def _length(name: str) -> int:
    (first, last), _ = _SCRIPTS[name]
    return last - first + 1


class Words:
    """Fonts of a folder; draws words and pictures of them."""

    def __init__(self, folder: Path) -> None:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".ttf", ".otf", ".ttc"})
        self.fonts = [path for path in files if scripts_of(path)]
        if not self.fonts:
            raise UserError(f"{folder} holds no font with letters of a known script (.ttf, .otf, .ttc)")

    def font(self, rng: Generator) -> Path:
        """A font, of a script drawn by its weight."""
        for _ in range(20):
            path = self.fonts[rng.integers(len(self.fonts))]
            heaviest = max(_SCRIPTS[name][1] for name in scripts_of(path))
            if rng.random() < heaviest / 10 + 0.1:
                break
        return path

    def line(self, rng: Generator, font: Path, words: int) -> str:
        """A line of so many words in one of the font's scripts."""
        own = scripts_of(font)
        weights = np.array([_SCRIPTS[name][1] for name in own])
        script = list(own)[rng.choice(len(own), p=weights / weights.sum())]
        text = " ".join(_word(rng, script, own[script]) for _ in range(words))
        style = rng.random()
        if script in {"latin", "greek", "cyrillic"}:
            text = text.upper() if style < 0.3 else text.capitalize() if style < 0.8 else text
            text = text.title() if rng.random() < 0.1 else text
        if script == "latin" and rng.random() < 0.12:
            text = rng.choice(["@{}", "{}.com", "www.{}.tv", "© {}", "#{}", "{} HD", "{}!", "- {}", "{}?"]).format(text)
        if rng.random() < 0.08:
            text = digits(rng)
        return text

    def picture(self, rng: Generator, font: Path, lines: list[str], height: int, plain: bool = False) -> Look:
        """Lines of letters of so many pixels' height, in one of the styles in which films carry them."""
        return _drawn(rng, ImageFont.truetype(str(font), max(6, height)), lines, height, plain)


def _word(rng: Generator, script: str, letters: tuple[int, ...]) -> str:
    longest = {"han": 5, "kana": 5, "hangul": 4}.get(script, 9)
    count = int(rng.integers(1, longest + 1))
    if script == "latin":
        chances = np.array([_LATIN.get(chr(c), 1) for c in letters], float)
        return "".join(chr(c) for c in rng.choice(letters, count, p=chances / chances.sum()))
    return "".join(chr(c) for c in rng.choice(letters, count))


def digits(rng: Generator) -> str:
    """A time, a date, a score or a number."""
    a, b, c, d = (int(n) for n in rng.integers(0, 60, 4))
    forms = (
        f"{a:02}:{b:02}",
        f"{a:02}:{b:02}:{c:02}",
        f"{a:02}:{b:02}:{c:02}:{d % 25:02}",
        f"{a % 10} - {b % 10}",
        f"2{a:03}-{1 + b % 12:02}-{1 + c % 28:02}",
        f"{a}.{b % 10}°",
        f"{a},{b:02}0",
        f"REC {a:02}:{b:02}",
        "LIVE",
    )
    return forms[rng.integers(len(forms))]


def colour(rng: Generator) -> np.ndarray:
    """A colour of letters or marks, BGR: mostly white."""
    kind = rng.random()
    if kind < 0.5:
        return np.full(3, rng.uniform(215, 255))
    if kind < 0.58:
        return np.array([rng.uniform(0, 90), rng.uniform(200, 255), rng.uniform(220, 255)])
    if kind < 0.66:
        return np.full(3, rng.uniform(0, 40))
    return rng.uniform(0, 255, 3)


def _drawn(rng: Generator, font: ImageFont.FreeTypeFont, lines: list[str], height: int, plain: bool) -> Look:
    spacing, stroke = int(height * rng.uniform(0.05, 0.4)), 0
    outlined = not plain and rng.random() < 0.45
    if outlined:
        stroke = max(1, round(height * rng.uniform(0.03, 0.12)))
    align = str(rng.choice(["center", "left", "right"], p=[0.7, 0.25, 0.05]))
    text = "\n".join(lines)
    probe = ImageDraw.Draw(Image.new("L", (8, 8)))
    box = probe.multiline_textbbox((0, 0), text, font=font, spacing=spacing, stroke_width=stroke, align=align)
    pad = int(height * 0.5) + 4
    size = int(box[2] - box[0]) + 2 * pad, int(box[3] - box[1]) + 2 * pad
    if size[0] * size[1] > 4e6 or min(size) < 1:
        return empty()
    where = pad - box[0], pad - box[1]

    def ink(stroke_width: int) -> np.ndarray:
        """The ink of the letters with a stroke around them, 0 to 1."""
        picture = Image.new("L", size)
        ImageDraw.Draw(picture).multiline_text(
            where, text, fill=255, font=font, spacing=spacing, stroke_width=stroke_width, align=align
        )
        return np.asarray(picture, np.float32) / 255

    letters = ink(0)
    around = ink(stroke) if outlined else None
    return styled(rng, letters, around, height, plain)


def empty() -> Look:
    """Nothing drawn."""
    return Look(np.zeros((1, 1, 3), np.float32), np.zeros((1, 1), np.float32), np.zeros((1, 1), bool))


def styled(rng: Generator, letters: np.ndarray, around: np.ndarray | None, height: int, plain: bool) -> Look:
    """Letters or a mark (ink, 0 to 1) with outline, shadow, box or relief, in colours."""
    fill = np.broadcast_to(colour(rng).astype(np.float32), (*letters.shape, 3))
    alpha = letters
    dark = np.full(3, rng.uniform(0, 50) if fill.mean() > 100 else rng.uniform(180, 255), np.float32)
    if around is not None:
        fill = dark + (fill - dark) * letters[..., None]
        alpha = np.maximum(around, letters)
    kind = rng.random()
    box = None
    if not plain and around is None:
        if kind < 0.35:
            fill, alpha = _shadowed(rng, fill, alpha, dark, height)
        elif kind < 0.5:
            box = rng.uniform(0.35, 1)
        elif kind < 0.58:
            fill = fill + 70 * (letters - np.roll(letters, (1, 1), (0, 1)))[..., None]
        elif kind < 0.64:
            ramp = np.linspace(-60, 60, letters.shape[0], dtype=np.float32)[:, None, None]
            fill = fill + ramp * rng.choice([-1, 1])
    look = Look(fill, alpha, grown(alpha > INK, max(3, round(0.45 * height))))
    if box is not None:
        look = _boxed(rng, look, height, float(box))
    return Look(np.clip(look.colour, 0, 255).astype(np.float32), look.alpha.astype(np.float32), look.area)


def grown(ink: np.ndarray, gap: int) -> np.ndarray:
    """The area that ink takes: gaps between its parts closed, and one pixel more around."""
    pad = 2 * gap
    padded = np.pad(ink.astype(np.uint8), pad)
    # Words of a line are further apart than lines.
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((gap | 1, 2 * gap | 1), np.uint8))
    return cv2.dilate(closed, np.ones((3, 3), np.uint8))[pad:-pad, pad:-pad] > 0


def _shadowed(
    rng: Generator, fill: np.ndarray, alpha: np.ndarray, dark: np.ndarray, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and opacity with a shadow at the lower right, sharp or soft."""
    offset = max(1, round(height * rng.uniform(0.02, 0.1)))
    shadow: np.ndarray = np.roll(alpha, (offset, offset), (0, 1)) * rng.uniform(0.4, 1)
    if rng.random() < 0.6:
        shadow = cv2.GaussianBlur(shadow, (0, 0), max(0.5, height * rng.uniform(0.02, 0.12)))
    both = np.maximum(alpha, shadow)
    share = (alpha / np.maximum(both, 1e-3))[..., None]
    return dark + (fill - dark) * share, both


def _boxed(rng: Generator, look: Look, height: int, opacity: float) -> Look:
    """The look on a box, all of which is burnt in."""
    ground = colour(rng).astype(np.float32) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 60), np.float32)
    if np.abs(ground - look.colour.mean((0, 1))).max() < 80:
        ground = 255 - look.colour.mean((0, 1))
    if not look.area.any():
        return look
    top, left, bottom, right = ink_of(look)
    margin = round(height * rng.uniform(0, 0.4))
    inside = np.zeros_like(look.area)
    inside[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin] = True
    whole = np.where(inside, np.maximum(look.alpha, opacity), look.alpha)
    share = (look.alpha / np.maximum(whole, 1e-3))[..., None]
    return Look(ground + (look.colour - ground) * np.clip(share, 0, 1), whole, inside)


def ink_of(look: Look) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of what a look shows; one pixel if it shows nothing."""
    rows, columns = np.flatnonzero(look.area.any(1)), np.flatnonzero(look.area.any(0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
