"""What is burnt in changes the picture where its label says, in all its kinds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fontTools", reason="the fonts are read by fontTools, of the extra `finder`")

from data_prep.finder_training.burnt_in import KINDS
from data_prep.finder_training.captions import by_word, comments, credits_roll, ticker
from data_prep.finder_training.drawing import Canvas, Drawer
from data_prep.finder_training.layers import Layer, lay_over
from data_prep.finder_training.marks import bouncing, tiles
from data_prep.finder_training.words import Look, ink_of

CANVAS = Canvas(360, 640, 8)
# The widest soft shadow and half the widest gap that is closed between two words: letters have at most 72 pixels here.
SHADOW, GAP = 26, 32
PASSING = {ticker, credits_roll, comments, tiles}
"""Kinds that may be partly outside the picture."""


@pytest.fixture(scope="module")
def drawer(backgrounds: Path) -> Drawer:
    return Drawer(backgrounds)


def layers_of(kind, drawer: Drawer, seed: int) -> list[Layer]:
    return kind(drawer, np.random.default_rng(seed), CANVAS)


def drawn(layer: Layer, number: int) -> tuple[np.ndarray, np.ndarray]:
    """How much a layer changes each pixel of a black or a white picture, whichever is more; and its label."""
    change, label = np.zeros((360, 640), int), np.zeros((360, 640), bool)
    for ground in (0, 255):
        frame = np.full((360, 640, 3), ground, np.uint8)
        found = lay_over(frame, layer, number)
        change = np.maximum(change, np.abs(frame.astype(int) - ground).max(-1))
        if found is not None:
            label[found[0]] |= found[1]
    return change, label


def distance(to: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the nearest one of an area."""
    return cv2.distanceTransform((~to).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_label_is_where_the_picture_changes(kind, drawer):
    seen = 0
    for layer in (layer for seed in range(6) for layer in layers_of(kind, drawer, seed)):
        change, label = drawn(layer, 4)
        if not label.any():
            continue
        seen += 1
        away = distance(label)
        # Beside the label there is nothing but the soft edge of a shadow, and further away nothing at all.
        assert (change[away > 2] <= 0.15 * 255 * layer.opacity[4]).all()
        assert (change[away > SHADOW] <= 2).all()
        # Parts that the edge of the picture cuts may have their letters outside.
        count, parts = cv2.connectedComponents(label.astype(np.uint8))
        edge = {*parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]}
        for part in set(range(1, count)) - edge:
            assert (change[parts == part] > 2).any()
        assert distance(change > 2)[~np.isin(parts, list(edge)) & label].max(initial=0) <= GAP
    assert seen


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in PASSING], ids=lambda kind: kind.__name__)
def test_what_stays_is_inside_the_picture(kind, drawer):
    for layer in (layer for seed in range(30) for layer in layers_of(kind, drawer, seed)):
        top, left, bottom, right = np.array(ink_of(layer.looks[0])) + np.tile(layer.places[0], 2)
        # The bar below a name may end a little outside.
        assert min(top, left, 360 - bottom, 640 - right) >= -8


@pytest.mark.parametrize("kind", sorted(PASSING, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_what_passes_is_seen(kind, drawer):
    labels = [drawn(layer, n)[1].any() for layer in layers_of(kind, drawer, 3) for n in range(8)]
    assert any(labels)


@pytest.mark.parametrize("kind", [bouncing, ticker, credits_roll, comments], ids=lambda kind: kind.__name__)
def test_what_moves_is_in_another_place(kind, drawer):
    for seed in range(4):
        moving = layers_of(kind, drawer, seed)[-1]
        assert len(np.unique(moving.places, axis=0)) > 1
        assert all(look is moving.looks[0] for look in moving.looks)


def test_captions_by_word_change_their_words(drawer):
    for seed in range(8):
        (layer,) = layers_of(by_word, drawer, seed)
        words = {look.alpha.tobytes() for look in layer.looks}
        assert len(words) >= 3


def mark(grey: float) -> Look:
    return Look(np.full((20, 30, 3), grey, np.float32), np.ones((20, 30), np.float32), np.ones((20, 30), bool))


def test_what_is_too_faint_to_be_seen_is_not_labelled():
    ground = np.full((60, 80, 3), 200, np.uint8)
    assert lay_over(ground.copy(), Layer.fixed(mark(203), (5, 5), np.ones(1)), 0) is None
    assert lay_over(ground.copy(), Layer.fixed(mark(0), (5, 5), np.full(1, 0.02)), 0) is None
    assert lay_over(ground.copy(), Layer.fixed(mark(0), (5, 5), np.zeros(1)), 0) is None
    assert lay_over(ground.copy(), Layer.fixed(mark(0), (-30, 5), np.ones(1)), 0) is None
    assert lay_over(ground.copy(), Layer.fixed(mark(0), (5, 5), np.full(1, 0.2)), 0) is not None


def test_a_layer_is_mixed_by_its_opacity_and_cut_by_the_edge():
    frame = np.full((60, 80, 3), 200, np.uint8)
    found = lay_over(frame, Layer.fixed(mark(0), (50, -10), np.full(1, 0.25)), 0)
    expected = np.full((60, 80, 3), 200, np.uint8)
    expected[50:60, 0:20] = 150
    np.testing.assert_array_equal(frame, expected)
    assert found is not None
    (rows, columns), area = found
    assert (rows, columns, area.shape) == (slice(50, 60), slice(0, 20), (10, 20))
