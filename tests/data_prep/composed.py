"""Films whose transitions are known: composed of scenes by cuts, dissolves and fades, with flashes and captions."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Transition = tuple[int, int]
"""The last frame of one shot and the first of the next; between them lies what belongs to neither."""
KINDS = ("cuts", "dissolves", "flashes", "held", "words", "fades")


@dataclass(frozen=True)
class Film:
    """Frames (RGB, uint8 `T H W C`), and where one shot goes over into the next."""

    kind: str
    frames: np.ndarray
    transitions: list[Transition]


def soft_scene(seed: int, count: int, speed: float = 1.5, height: int = 90, width: int = 160) -> np.ndarray:
    """Coloured clouds that drift by `speed` pixels a frame in any direction."""
    generator = np.random.default_rng((seed, 1))
    angle = generator.uniform(0, 2 * np.pi)
    reach = int(np.ceil(speed * count)) + 2
    noise = generator.integers(0, 256, ((height + 2 * reach) // 20 + 3, (width + 2 * reach) // 20 + 3, 3), np.uint8)
    wide = cv2.resize(noise, (width + 2 * reach, height + 2 * reach), interpolation=cv2.INTER_CUBIC)
    ways = (reach + speed * t * np.array([np.sin(angle), np.cos(angle)]) for t in range(count))
    return np.stack([wide[int(y) : int(y) + height, int(x) : int(x) + width] for y, x in ways])


def hard_scene(seed: int, count: int, height: int = 90, width: int = 160) -> np.ndarray:
    """Blocks of 16 pixels that drift by one pixel a frame."""
    noise = np.random.default_rng((seed, 3)).integers(
        0, 256, (height // 16 + 2, (width + count) // 16 + 2, 3), np.uint8
    )
    wide = noise.repeat(16, axis=0).repeat(16, axis=1)
    return np.stack([wide[:height, t : t + width] for t in range(count)])


def synthetic_scenes(seed: int) -> list[np.ndarray]:
    """Six scenes of 120 frames, soft and hard, slow and fast."""
    speeds = np.random.default_rng((seed, 2)).uniform(0.2, 1.5, 3)
    soft = [soft_scene(10 * seed + n, 120, float(speed)) for n, speed in enumerate(speeds)]
    hard = [hard_scene(10 * seed + n, 120) for n in range(3)]
    return [scene for pair in zip(soft, hard, strict=True) for scene in pair]


def blend(one: np.ndarray, other: np.ndarray, length: int) -> np.ndarray:
    """The end of `one` dissolved into the beginning of `other`, `length` frames each."""
    alpha = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    return np.round((1 - alpha) * one[-length:] + alpha * other[:length]).astype(np.uint8)


def join(scenes: Sequence[np.ndarray], lengths: Sequence[int]) -> tuple[np.ndarray, list[Transition]]:
    """Scenes one after the other; `lengths`: frames of the dissolve between each two, 0 for a cut."""
    frames, transitions = scenes[0], []
    for scene, length in zip(scenes[1:], lengths, strict=True):
        if length:
            mixed = blend(frames, scene, length)
            frames, scene = np.concatenate([frames[:-length], mixed]), scene[length:]
            transitions.append((len(frames) - length - 1, len(frames)))
        else:
            transitions.append((len(frames) - 1, len(frames)))
        frames = np.concatenate([frames, scene])
    return frames, transitions


def held(scene: np.ndarray, times: int) -> np.ndarray:
    """As many frames, each picture shown `times` times, as in films drawn on twos or threes."""
    return scene.repeat(times, axis=0)[: len(scene)]


def with_flashes(frames: np.ndarray, generator: np.random.Generator, transitions: list[Transition]) -> np.ndarray:
    """Flashes of one to three white frames, or of one that fades over six; each 14 frames from others and from cuts."""
    flashed = frames.astype(float)
    edges = np.array([0, len(frames), *[first for _, first in transitions]])
    for at in generator.integers(12, len(frames) - 12, 12):
        if np.abs(edges - at).min() < 14:
            continue
        edges = np.append(edges, at)
        fading = generator.random() < 0.3
        strengths = [1.0, 0.7, 0.45, 0.25, 0.12, 0.05] if fading else [1.0] * int(generator.integers(1, 4))
        for number, strength in enumerate(strengths):
            flashed[at + number] = np.maximum(flashed[at + number], frames[at + number] + strength * 190)
    return np.clip(flashed, 0, 255).astype(np.uint8)


def drawn(image_HWC: np.ndarray, word: str, row: float, scale: float) -> np.ndarray:
    """A white word with a black outline, centred, its base line at the share `row` of the height."""
    height, width = image_HWC.shape[:2]
    (long, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    picture, place = image_HWC.copy(), ((width - long) // 2, round(row * height))
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, word, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return picture


def with_words(frames: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Captions in one place of the picture that change word by word, after 5 to 14 frames each."""
    row, scale = generator.uniform(0.3, 0.95), generator.uniform(0.25, 0.8) * frames.shape[1] / 90
    changes = np.cumsum([0, *generator.integers(5, 15, len(frames) // 5 + 1)])
    words = ["".join(generator.choice(list("ABDEGHIKLMNORSTUW"), generator.integers(2, 9))) for _ in changes]
    shown = np.searchsorted(changes, np.arange(len(frames)), side="right") - 1
    return np.stack([drawn(f, words[n], row, scale) for f, n in zip(frames, shown, strict=True)])


def credits(generator: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """A black card with one to three short lines of text: a hundredth of full brightness, or little more."""
    card, lines = np.zeros((height, width, 3), np.uint8), generator.integers(1, 4)
    for line in range(lines):
        word = "".join(generator.choice(list("abcdefghiklmnoprstuw"), generator.integers(6, 13)))
        card = drawn(card, word, 0.4 + 0.15 * line, 0.3 * height / 90)
    return card[None].repeat(count, axis=0)


def fade(one: np.ndarray, other: np.ndarray, colour: int, lengths: tuple[int, int, int]) -> np.ndarray:
    """The end of `one` fades out to grey level `colour` and the start of `other` in: frames of out, between, in."""
    out, between, come = lengths
    left = np.linspace(1, 0, out + 2)[1:-1, None, None, None] if out else np.ones((0, 1, 1, 1))
    shown = np.linspace(0, 1, come + 2)[1:-1, None, None, None] if come else np.ones((0, 1, 1, 1))
    blank = np.full((between, *one.shape[1:]), colour, np.float64)
    faded = colour + left * (one[len(one) - out :].astype(float) - colour)
    coming = colour + shown * (other[:come].astype(float) - colour)
    return np.round(np.concatenate([faded, blank, coming])).astype(np.uint8)


def join_fading(scenes: Sequence[np.ndarray], generator: np.random.Generator) -> tuple[np.ndarray, list[Transition]]:
    """Scenes with fades through black or white between them; after the last and before the first, dark cards.

    A fade lasts 6 to 24 frames, to a blank picture of 1 to 12 frames; the next scene fades in likewise or is there at
    once, as a card always is.
    """
    height, width = scenes[0].shape[1:3]
    parts = [credits(generator, 40, height, width), *scenes, credits(generator, 40, height, width)]
    frames, transitions = parts[0], []
    for number, scene in enumerate(parts[1:]):
        to_card, from_card = number == len(parts) - 2, number == 0
        colour = 0 if to_card or from_card or generator.random() < 0.6 else 255
        out = 0 if from_card else int(generator.integers(6, 25))
        come = 0 if to_card or (not from_card and generator.random() < 0.3) else int(generator.integers(6, 25))
        mixed = fade(frames, scene, colour, (out, int(generator.integers(1, 13)), come))
        first = len(frames) - out
        frames = np.concatenate([frames[:first], mixed, scene[come:]])
        transitions.append((first - 1, first + len(mixed)))
    return frames, transitions


def compose(kind: str, scenes: Sequence[np.ndarray], seed: int) -> Film:
    """A film of all scenes, 40 to 100 frames of each, of one of the `KINDS`."""
    generator = np.random.default_rng((seed, KINDS.index(kind)))
    parts = []
    for scene in scenes:
        count = min(len(scene), int(generator.integers(40, 101)))
        start = int(generator.integers(0, len(scene) - count + 1))
        parts.append(scene[start : start + count])
    if kind == "held":
        parts = [held(part, int(generator.integers(2, 4))) for part in parts]
    # Each scene is seen alone for 16 frames at least.
    shorter = [min(len(a), len(b)) for a, b in itertools.pairwise(parts)]
    lengths = [int(generator.integers(6, (n - 16) // 2 + 1)) if kind == "dissolves" else 0 for n in shorter]
    frames, transitions = join_fading(parts, generator) if kind == "fades" else join(parts, lengths)
    if kind == "flashes":
        frames = with_flashes(frames, generator, transitions)
    if kind == "words":
        frames = with_words(frames, generator)
    return Film(kind, frames, transitions)


def boundaries(spans: Sequence[tuple[int, int]]) -> list[Transition]:
    """The transitions between shots that are given as (first frame, frame after the last)."""
    return [(end - 1, start) for (_, end), (start, _) in itertools.pairwise(spans)]


def scores(found: Sequence[Transition], true: Sequence[Transition], slack: int = 2) -> tuple[int, int, int]:
    """How many are found rightly, are found, and are there; right is what meets a true one to `slack` frames."""
    left, right = list(true), 0
    for start, end in found:
        meets = [one for one in left if start < one[1] + slack and end > one[0] - slack]
        if meets:
            left.remove(meets[0])
            right += 1
    return right, len(found), len(true)
