"""Regions of made moments."""

import numpy as np
import pytest

from data_prep.finder.areas import logit
from data_prep.finder.moments import Moment
from data_prep.finder.regions import regions_of


def moments(*maps: np.ndarray) -> list[Moment]:
    return [Moment.of(25 * number + 12, each) for number, each in enumerate(maps)]


def square(value: float, top: int, left: int, side: int = 8) -> np.ndarray:
    made = np.zeros((60, 80), np.float32)
    made[top : top + side, left : left + side] = value
    return made


def covered(found, number: int, stands: bool) -> np.ndarray:
    shown = [r.covered() for r in found if r.stands == stands and r.start <= number < r.end]
    return np.any([np.zeros((60, 80), bool), *shown], axis=0)


def test_what_stands_is_covered_all_along():
    found = regions_of(moments(*[square(0.9, 10, 20)] * 4), 0, 100)
    for number in (0, 50, 99):
        area = covered(found, number, stands=True)
        assert area[10:18, 20:28].all()
        assert area.sum() <= 14 * 14


def test_what_comes_and_goes_is_covered_between_its_neighbours():
    found = regions_of(moments(square(0, 0, 0), square(0, 0, 0), square(0.95, 30, 40), square(0, 0, 0)), 0, 100)
    shown = [number for number in range(100) if covered(found, number, stands=False)[33, 43]]
    # Seen at frame 62; it was not there at 37, and no longer at 87.
    assert shown == list(range(38, 87))
    assert not [region for region in found if region.stands]


def test_what_is_sure_at_one_moment_is_followed_to_others():
    values = [square(0.4, 10, 20), square(0.95, 12, 20), square(0.4, 14, 20), square(0, 0, 0)]
    found = [region for region in regions_of(moments(*values), 0, 100) if not region.stands]
    assert {region.look for region in found} == {found[0].look}
    assert found[0].look[0] == pytest.approx(logit(0.95), abs=0.05)
    assert covered(found, 5, stands=False)[13, 23]
    assert covered(found, 85, stands=False)[17, 23]
    assert not covered(found, 90, stands=False).any()


def test_a_long_shot_is_judged_in_blocks():
    count = 150
    values = [square(0.95, 10, 20) if number < 64 else square(0, 0, 0) for number in range(count)]
    found = regions_of(moments(*values), 0, 25 * count)
    shown = [number for number in range(25 * count) if covered(found, number, stands=True)[13, 23]]
    assert shown == list(range(25 * 64 + 12))


@pytest.mark.parametrize("stands", [True, False])
def test_what_touches_a_weaker_surrounding_is_a_region_inside_a_larger_one(stands):
    value = square(0.4, 4, 4, side=40)
    value[10:18, 20:28] = 0.95
    found = [region for region in regions_of(moments(value, value, value), 0, 75) if region.stands == stands]
    assert {region.covered().sum() for region in found} == {44 * 44}
    for region in found:
        (part,) = region.inside
        assert (part.start, part.end, part.seen, part.stands) == (region.start, region.end, region.seen, stands)
        assert part.covered()[10:18, 20:28].all()
        assert part.covered().sum() == 12 * 12


def test_what_stands_for_part_of_a_shot_is_covered_from_its_first_to_its_last_moment():
    nothing, shown = square(0, 0, 0), square(0.99, 10, 20)
    found = regions_of(moments(nothing, nothing, *[shown] * 6, nothing), 0, 225)
    (region,) = [region for region in found if region.stands]
    # Seen at frames 62 to 187; it was not there at 37, and no longer at 212.
    assert (region.start, region.end, region.seen) == (38, 212, range(62, 188))


def test_without_moments_there_is_nothing():
    assert regions_of([], 0, 10) == []
