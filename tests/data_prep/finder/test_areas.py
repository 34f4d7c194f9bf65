"""Areas of made values, against what one sees at once, and against scipy's labels of single levels."""

import numpy as np
import pytest
from scipy import ndimage

from data_prep.finder.areas import LEAST, LEVELS, Area, areas, logit


def square(value: float, top: int, left: int, side: int = 8) -> np.ndarray:
    made = np.zeros((60, 80), np.float32)
    made[top : top + side, left : left + side] = value
    return made


def test_an_area_extends_from_its_peak_and_has_a_look():
    value = square(0.4, 10, 20, side=12)
    value[14, 24] = 0.8
    (area,) = areas(value[None])
    assert area.at(0, 60, 80)[10:22, 20:32].all()
    assert area.look[0] == pytest.approx(logit(0.8))
    assert area.look[1] == pytest.approx(logit(0.4))
    # A margin of two pixels on each side.
    assert area.look[2] == pytest.approx(np.log(16 * 16))
    assert area.look[3] == pytest.approx(1)
    assert not areas(square(0.4, 10, 20)[None])


def test_gaps_between_letters_are_filled():
    value = square(0.9, 20, 20) + square(0.9, 20, 34)
    value[24, 28:34] = 0.35
    (area,) = areas(value[None])
    assert area.at(0, 60, 80)[20:28, 20:42].all()
    # Without their weak link they are two.
    assert len(area.inside) == 2


def test_an_area_at_the_edge_of_the_picture_stays_in_it():
    (area,) = areas(square(0.9, 0, 72)[None])
    covered = area.at(0, 60, 80)
    assert covered[:10, 70:].all()
    assert covered.sum() == 100


def test_an_area_that_hardly_shrinks_is_the_same_at_all_levels():
    (area,) = areas(square(0.95, 10, 20)[None])
    assert area.inside == ()


def everything(found: list[Area]) -> list[Area]:
    return [one for area in found for one in (area, *everything(list(area.inside)))]


def test_the_areas_of_each_level_are_those_of_its_labels():
    rng = np.random.default_rng(3)
    value = ndimage.gaussian_filter(rng.normal(0, 1, (6, 60, 80)), (0.7, 3, 3))
    value = (value - value.min()) / (value.max() - value.min())
    peaks = []
    for level in LEVELS:
        labels, count = ndimage.label(value >= level, np.ones((3, 3, 3)))
        large = [n for n in range(1, count + 1) if (labels == n).sum((1, 2)).max() >= 12]
        peaks += [logit(value[labels == n].max()) for n in large if value[labels == n].max() >= LEAST]
    found = everything(areas(value))
    # Those that keep nearly all of their pixels are counted once; no other is lost, and none is made up.
    assert {round(area.look[0], 6) for area in found} == {round(peak, 6) for peak in peaks}
    assert len(LEVELS) < len(found) <= len(peaks)
    for area in found:
        for part in area.inside:
            times = range(part.place[0].start, part.place[0].stop)
            assert all(not (part.at(t, 60, 80) & ~area.at(t, 60, 80)).any() for t in times)
