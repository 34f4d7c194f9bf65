"""Pictures whose edges repeat, and such whose edges don't."""

import cv2
import numpy as np
import pytest
from footage import grey_scene

from data_prep.overlays.tiling import _likeness, tiled
from data_prep.text.track import gradients

SHAPE = (360, 640)


def with_tiles(image: np.ndarray, pitch: tuple[int, int], opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a word at each second place of a grid, as on a chess board, and where that is."""
    letters = np.zeros((SHAPE[0] + 200, SHAPE[1] + 400), np.uint8)
    for row in range(letters.shape[0] // pitch[0]):
        for column in range(letters.shape[1] // pitch[1]):
            if (row + column) % 2 == 0:
                at = (column * pitch[1], row * pitch[0] + 20)
                cv2.putText(letters, "draft", at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2, cv2.LINE_AA)
    letters = letters[37 : 37 + SHAPE[0], 61 : 61 + SHAPE[1]]
    alpha = opacity * letters / 255
    return np.round((1 - alpha) * image + 255 * alpha).astype(np.uint8), letters > 128


@pytest.mark.parametrize("way", [(0, 0), (5, 7), (5, -7), (-5, 7), (-19, -30)])
def test_likeness_is_the_correlation_of_what_overlaps(way):
    field = np.random.default_rng(0).normal(size=(2, 61, 80)).astype(np.float32)
    found = _likeness(field)
    row, column = way
    moved = field[:, max(0, row) : 61 + min(0, row), max(0, column) : 80 + min(0, column)]
    stays = field[:, max(0, -row) : 61 - max(0, row), max(0, -column) : 80 - max(0, column)]
    wanted = (moved * stays).sum() / np.sqrt((moved**2).sum() * (stays**2).sum())
    middle = [side // 2 for side in found.shape]
    assert found[middle[0] + row, middle[1] + column] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("pitch", "opacity", "still"),
    [((40, 90), 0.4, True), ((40, 90), 0.2, False), ((40, 90), 0.5, False), ((70, 120), 0.3, False)],
)
def test_tiles_are_found_whether_the_scene_moves_or_not(pitch, opacity, still):
    scene = grey_scene(2, 150)[::3]
    pictures = [with_tiles(scene[0] if still else image, pitch, opacity) for image in scene]
    covered = tiled(np.mean([gradients(image) for image, _ in pictures], axis=0))
    letters = pictures[0][1]
    assert covered is not None
    near = cv2.dilate(letters.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert (letters & covered).sum() > 0.8 * letters.sum()
    assert (covered & ~near).mean() < 0.06


def test_scenes_bars_and_single_marks_do_not_repeat():
    pictures = [grey_scene(seed, 1)[0] for seed in range(8)]
    barred = pictures[0].copy()
    barred[:50] = barred[310:] = 16
    tilted = cv2.warpAffine(barred, cv2.getRotationMatrix2D((320, 180), 7, 1.0), SHAPE[::-1])
    marked = cv2.putText(pictures[1].copy(), "NEWS", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
    for picture in (*pictures, barred, tilted, marked):
        assert tiled(gradients(picture)) is None
    assert tiled(np.zeros((2, *SHAPE), np.float32)) is None
    assert tiled(np.zeros((2, 9, 12), np.float32)) is None
