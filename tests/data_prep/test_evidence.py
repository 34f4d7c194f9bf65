"""Rules and the finder together, on made moments."""

import numpy as np
import pytest

from data_prep.analysis_types import Overlay, Text, pack, unpack
from data_prep.evidence import DOUBTED, MASKED, along_edges, judged, logistic
from data_prep.finder.moments import Moment
from data_prep.finder.regions import regions_of

SIZE = (120, 160)
"""The analysed picture; moments have half of it."""


def moments(value: float, top: int = 20, left: int = 20, count: int = 4) -> list[Moment]:
    made = np.zeros((60, 80), np.float32)
    made[top : top + 8, left : left + 24] = value
    return [Moment.of(25 * number + 12, made) for number in range(count)]


def text(sure: bool, top: int = 40, left: int = 40) -> Text:
    return Text(10, 90, (top, left, top + 16, left + 48), pack(np.ones((16, 48), bool)), sure)


def overlay() -> Overlay:
    area = np.zeros(SIZE, bool)
    area[40:56, 40:88] = True
    return Overlay(0, 100, pack(area), 0.5)


def found(texts, overlays, looks):
    return judged(texts, overlays, regions_of(looks, 0, 100), looks, SIZE)


def test_logistic_is_the_formula():
    assert logistic([2.0, -1.0], [0.5, 3.0, 1.0]) == pytest.approx(1 / (1 + np.exp(-(1.0 - 3.0 + 1.0))))


@pytest.mark.parametrize("sure", [True, False])
def test_a_text_that_the_finder_sees_is_masked_whatever_the_rules_think(sure):
    (one,), overlays = found([text(sure)], [], moments(0.95))
    assert one.sure
    assert one.probability > 0.5
    # The text explains what the finder sees in its time; before and after it, the region is masked.
    assert all(not (o.start > 10 and o.end < 90) for o in overlays)


def test_a_text_that_the_finder_does_not_see_is_not_masked():
    (one,), overlays = found([text(True)], [], moments(0.02))
    assert not one.sure
    assert one.probability < MASKED
    assert not overlays


def test_an_overlay_of_the_rules_is_a_doubt_if_the_finder_sees_nothing():
    _, (one,) = found([], [overlay()], moments(0.01))
    assert not one.sure
    _, (one, *_) = found([], [overlay()], moments(0.95))
    assert one.sure


def test_what_only_the_finder_sees_is_added_once():
    _, overlays = found([], [], moments(0.99))
    assert len(overlays) == 1
    assert overlays[0].sure
    assert overlays[0].opacity is None
    area = unpack(overlays[0].bits, *SIZE)
    assert area[40:56, 40:88].all()
    assert area[:30].sum() == 0


def test_what_is_hardly_probable_is_left_out():
    texts, overlays = found([], [], moments(0.6))
    assert not texts
    assert all(DOUBTED <= one.probability < MASKED and not one.sure for one in overlays)


def test_without_a_moment_the_rules_decide():
    (one,), (other,) = judged([text(True)], [overlay()], [], [], SIZE)
    assert one.sure and other.sure
    assert one.probability is None and other.probability is None


def test_a_mark_that_touches_a_busy_scene_is_masked_without_it():
    # Weak below a slope, as along the edges of things.
    rows, columns = np.mgrid[:60, :80]
    made = np.where(rows < 0.4 * columns + 30, 0.35, 0).astype(np.float32) * (rows % 12 < 9)
    made[20:28, 20:44] = 0.99
    looks = [Moment.of(25 * number + 12, made) for number in range(4)]
    _, overlays = found([], [], looks)
    (sure,) = [one for one in overlays if one.sure]
    area = unpack(sure.bits, *SIZE)
    assert area[40:56, 40:88].all()
    assert area.sum() < 0.2 * area.size


@pytest.mark.parametrize(
    ("top", "height", "edge"),
    [(10, 3, True), (8, 7, True), (0, 3, False), (2, 14, False), (56, 4, True), (30, 8, False)],
)
def test_what_lies_along_the_edge_of_a_bar_is_the_edge_itself(top, height, edge):
    made = np.zeros((60, 80), np.float32)
    made[top : top + height, 20:60] = 0.95
    # Above, a bar takes a fifth of the picture.
    for region in regions_of([Moment.of(12, made)], 0, 25):
        assert along_edges(region, [(0, 25, (0.2, 0.0, 1.0, 1.0))]) == edge
        assert not along_edges(region, [(25, 50, (0.2, 0.0, 1.0, 1.0))])


def shown_in(times: list[int]) -> list[Moment]:
    nothing, something = np.zeros((60, 80), np.float32), np.zeros((60, 80), np.float32)
    something[20:28, 20:44] = 0.99
    return [Moment.of(25 * number + 12, something if number in times else nothing) for number in range(8)]


@pytest.mark.parametrize(("times", "left"), [([0, 1, 5, 6, 7], 0), ([0, 1, 2, 3, 4, 5, 6, 7], 1)])
def test_texts_that_come_and_go_in_one_place_are_no_overlay_but_letters_of_a_logo_are_part_of_one(times, left):
    mine = Text(0, 55, (40, 40, 56, 88), pack(np.ones((16, 48), bool)), True)
    other = Text(120, 200, (40, 40, 56, 88), pack(np.ones((16, 48), bool)), True)
    looks = shown_in(times)
    texts, overlays = judged([mine, other], [], regions_of(looks, 0, 200), looks, SIZE)
    assert all(one.sure for one in texts)
    standing = [one for one in overlays if one.end - one.start > 60]
    assert len(standing) == left
