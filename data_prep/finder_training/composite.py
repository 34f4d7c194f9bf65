"""One composite: a scene, what belongs to it, what is burnt in, compressed; its maps and where it is burnt in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.random import Generator

from data_prep.finder.maps import LONG, SIDE, Sample, maps
from data_prep.finder_training.backgrounds import Backgrounds, Scene, degraded
from data_prep.finder_training.burnt_in import burnt_in_layers
from data_prep.finder_training.compression import samples_of
from data_prep.finder_training.drawing import Canvas, Drawer
from data_prep.finder_training.layers import Layer, lay_over
from data_prep.finder_training.scene_text import with_scene_text

# Shapes of pictures, width over height, and how often: films, phones, old television, cinema, squares.
_SHAPES = ((16 / 9, 0.6), (4 / 3, 0.12), (9 / 16, 0.12), (2.35, 0.08), (1.0, 0.08))
# Share of composites without anything burnt in, and with texts that belong to the scene.
_CLEAN, _SCENE_TEXT = 0.4, 0.4
# Share of composites with bars, and with a dark line along an edge, as 8 of 61 real clips have one.
_BARRED, _LINED = 0.12, 0.13


@dataclass(frozen=True)
class Composite:
    """A moment as the finder sees it, and where something is burnt in."""

    picture: Sample
    maps: np.ndarray
    """float32 `C H/2 W/2`."""
    burnt_in: np.ndarray
    """uint8 `H/2 W/2`: 1 where something is burnt in, else 0."""


@dataclass(frozen=True)
class Composer:
    """Makes the composite of each number from a seed: same seed and number, same composite."""

    backgrounds: Backgrounds
    drawer: Drawer
    seed: int

    @classmethod
    def of(cls, folder: Path, seed: int, more_videos: tuple[Path, ...] = ()) -> Self:
        """From a folder with `videos`, `photos`, `text_photos`, `fonts` and `marks.npz`; raises UserError."""
        return cls(Backgrounds(folder, more_videos), Drawer(folder), seed)

    def make(self, number: int) -> Composite:
        """The composite `number`."""
        rng = np.random.default_rng([self.seed, number])
        ratio = _SHAPES[rng.choice(len(_SHAPES), p=[share for _, share in _SHAPES])][0]
        height, width = (SIDE, int(SIDE * ratio)) if ratio < 1 else (int(SIDE / ratio), SIDE)
        count = LONG if rng.random() < 0.6 else int(rng.integers(3, LONG))
        scene = self.backgrounds.draw(rng, height // 2 * 2, width // 2 * 2, count)
        if rng.random() < _SCENE_TEXT:
            scene = with_scene_text(rng, scene, self.drawer)
        frames, areas = self._overlaid(rng, degraded(rng, scene))
        samples = samples_of(rng, frames)
        centre = int(rng.integers(len(samples)))
        return Composite(samples[centre], maps(samples, centre), _halved(areas[centre]))

    def _overlaid(self, rng: Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """The frames with what is burnt in, and where that is in each, uint8 `T H W`."""
        frames = scene.frames.copy()
        count, height, width, _ = frames.shape
        if rng.random() < _BARRED:
            _barred(rng, frames)
        if rng.random() < _LINED:
            _lined(rng, frames)
        layers: list[Layer] = []
        if rng.random() > _CLEAN:
            layers = burnt_in_layers(self.drawer, rng, Canvas(height, width, count))
        areas = np.zeros((count, height, width), np.uint8)
        for number, frame in enumerate(frames):
            for layer in layers:
                found = lay_over(frame, layer, number)
                if found is not None:
                    areas[number][found[0]] |= found[1].astype(np.uint8)
        return frames, areas


def _barred(rng: Generator, frames: np.ndarray) -> None:
    """Blacken bars above and below, or at the sides."""
    _, height, width, _ = frames.shape
    if rng.random() < 0.7:
        bar = int(height * rng.uniform(0.05, 0.16))
        frames[:, :bar] = frames[:, height - bar :] = 0
    else:
        bar = int(width * rng.uniform(0.03, 0.3))
        frames[:, :, :bar] = frames[:, :, width - bar :] = 0


def _lined(rng: Generator, frames: np.ndarray) -> None:
    """Darken a line along one or two edges, as cropping and old tapes leave it; it may fade into the picture."""
    for edge in rng.choice(4, int(rng.integers(1, 3)), replace=False):
        wide = int(rng.integers(1, 6))
        strip = (frames[:, :wide], frames[:, -wide:], frames[:, :, :wide], frames[:, :, -wide:])[edge]
        left = rng.uniform(0, 0.6) if rng.random() < 0.5 else 0.0
        strip[:] = (strip * left).astype(np.uint8)


def _halved(area: np.ndarray) -> np.ndarray:
    """1 where at least half of a 2×2 block is burnt in."""
    height, width = area.shape
    share = cv2.resize(area.astype(np.float32), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return (share >= 0.5).astype(np.uint8)
