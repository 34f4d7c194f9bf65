"""When the finder looks, and at which pictures."""

import numpy as np
import pytest

from data_prep.finder.maps import LONG
from data_prep.finder.moments import REACH, STRIDE, Moment, MomentFinder, shipped, spread_around

GREY = [np.full((32, 48), 128, np.uint8)] * 2


@pytest.mark.parametrize("count", [1, 2, 5, 15, 16, 17, 30, 41, 100])
def test_the_long_span_holds_the_centre_and_its_neighbours(count):
    for centre in range(count):
        picked, place = spread_around(count, centre)
        assert picked == sorted(set(picked))
        assert len(picked) <= LONG
        assert picked[place] == centre
        assert all(0 <= n < count and abs(n - centre) <= REACH for n in picked)
        assert {n for n in range(centre - 2, centre + 3) if 0 <= n < count} <= set(picked)
        if count > LONG:
            assert len(picked) >= min(LONG, min(count, centre + REACH + 1) - max(0, centre - REACH))


def feed(frames: int) -> list[Moment]:
    finder = MomentFinder(64, 96, shipped())
    rng = np.random.default_rng(2)
    for number in range(frames):
        finder.take(10 * number, finder.sample(rng.integers(0, 255, (64, 96), np.uint8), GREY))
    return finder.close()


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 13, 60])
def test_there_is_a_moment_about_each_second(frames):
    numbers = [moment.number for moment in feed(frames)]
    assert numbers
    first = STRIDE // 2 if frames > STRIDE // 2 else (frames - 1) // 2
    regular = list(range(10 * first, 10 * frames, 10 * STRIDE))
    assert numbers[: len(regular)] == regular
    # The last one is at most half a second before the end.
    assert 10 * (frames - 1) - numbers[-1] <= 10 * (STRIDE // 2)
    assert len(numbers) <= len(regular) + 1


def test_where_something_comes_each_sample_is_judged(monkeypatch):
    """The finder says what the picture's first pixel says: something from sample 13 on."""

    def said(samples, centre, network):
        return np.full((32, 48), float(samples[centre].grey[0, 0] > 128), np.float32)

    monkeypatch.setattr("data_prep.finder.moments.probabilities", said)
    finder = MomentFinder(64, 96, "none")
    finder.size = (64, 96)
    for number in range(40):
        picture = np.full((64, 96), 255 if number >= 13 else 0, np.uint8)
        finder.take(number, finder.sample(picture, GREY))
    moments = finder.close()
    numbers = [moment.number for moment in moments]
    assert numbers == [2, 7, 12, 13, 14, 15, 16, 17, 22, 27, 32, 37]
    assert [moment.burnt_in().max() > 0.5 for moment in moments] == [number >= 13 for number in numbers]


def test_a_cut_that_is_known_late_leaves_the_moments_of_two_finders():
    rng = np.random.default_rng(4)
    pictures = [rng.integers(0, 255, (64, 96), np.uint8) for _ in range(60)]

    def fed(finder: MomentFinder, numbers: range) -> MomentFinder:
        for number in numbers:
            finder.take(number, finder.sample(pictures[number], GREY))
        return finder

    late, second = fed(MomentFinder(64, 96, shipped()), range(45)), MomentFinder(64, 96, shipped())
    for number, sample in late.cut(33):
        second.take(number, sample)
    found, wanted = late.close(), fed(MomentFinder(64, 96, shipped()), range(33)).close()
    assert [one.number for one in found] == [one.number for one in wanted]
    # Some were judged before the cut was known, by pictures beyond it.
    early = [one.number for one in wanted if one.number <= 44 - REACH and one.number + REACH >= 33]
    assert 0 < len(early) < len(wanted)
    assert [one for one in found if one.number not in early] == [one for one in wanted if one.number not in early]
    assert fed(second, range(45, 60)).close() == fed(MomentFinder(64, 96, shipped()), range(33, 60)).close()


def test_nothing_fed_is_nothing_found():
    assert MomentFinder(64, 96, shipped()).close() == []


def test_a_moment_is_kept_in_steps():
    burnt_in = np.random.default_rng(3).random((20, 30)).astype(np.float32)
    kept = Moment.of(7, burnt_in).burnt_in()
    assert np.abs(kept - burnt_in)[burnt_in > 0.06].max() <= 0.5 / 255 + 1e-6
    assert (kept[burnt_in < 0.04] == 0).all()
