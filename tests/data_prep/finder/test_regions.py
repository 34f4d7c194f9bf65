"""Regions of made moments."""

import numpy as np
import pytest

from data_prep.finder.moments import Moment
from data_prep.finder.regions import MASKED, areas, calibrated, regions_of


def moments(*maps: np.ndarray) -> list[Moment]:
    return [Moment.of(25 * number + 12, each) for number, each in enumerate(maps)]


def square(value: float, top: int, left: int, side: int = 8) -> np.ndarray:
    made = np.zeros((60, 80), np.float32)
    made[top : top + side, left : left + side] = value
    return made


def masked(found, number: int) -> np.ndarray:
    shown = [r.covered for r in found if r.probability >= MASKED and r.start <= number < r.end]
    return np.any([np.zeros((60, 80), bool), *shown], axis=0)


def test_what_stands_is_covered_all_along():
    found = regions_of(moments(*[square(0.9, 10, 20)] * 4), 0, 100)
    for number in (0, 50, 99):
        area = masked(found, number)
        assert area[10:18, 20:28].all()
        assert area.sum() <= 14 * 14


def test_what_comes_and_goes_is_covered_between_its_neighbours():
    found = regions_of(moments(square(0, 0, 0), square(0, 0, 0), square(0.95, 30, 40), square(0, 0, 0)), 0, 100)
    shown = [number for number in range(100) if masked(found, number)[33, 43]]
    # Seen at frame 62; it was not there at 37, and no longer at 87.
    assert shown == list(range(38, 87))


def test_a_moment_of_doubt_in_the_mean_is_no_mask():
    found = regions_of(moments(square(0.9, 10, 20), *[square(0.3, 10, 20)] * 5), 0, 150)
    assert masked(found, 0).any()
    assert not masked(found, 100).any()


def test_an_area_extends_from_its_peak():
    value = square(0.4, 10, 20, side=12)
    value[14, 24] = 0.8
    ((area, peak),) = areas(value[None])
    assert peak > 0.79
    assert area[0, 10:22, 20:32].all()
    assert not areas(square(0.1, 10, 20)[None])


def test_what_is_sure_at_one_moment_is_followed_to_others():
    values = [square(0.4, 10, 20), square(0.95, 12, 20), square(0.4, 14, 20), square(0, 0, 0)]
    found = regions_of(moments(*values), 0, 100)
    assert masked(found, 5)[13, 23]
    assert masked(found, 85)[17, 23]
    assert not masked(found, 90).any()


def test_a_long_shot_is_judged_in_blocks():
    count = 150
    values = [square(0.95, 10, 20) if number < 20 else square(0, 0, 0) for number in range(count)]
    found = regions_of(moments(*values), 0, 25 * count)
    shown = [number for number in range(25 * count) if masked(found, number)[13, 23]]
    assert shown == list(range(25 * 20 + 12))


def test_calibration_keeps_order_and_is_the_logistic_function():
    said = [calibrated(value, (2.0, -1.0)) for value in (0.1, 0.5, 0.9)]
    assert said == sorted(said)
    assert said[1] == pytest.approx(1 / (1 + np.e))
    assert calibrated(0.3, (1.0, 0.0)) == pytest.approx(0.3)


def test_without_moments_there_is_nothing():
    assert regions_of([], 0, 10) == []
