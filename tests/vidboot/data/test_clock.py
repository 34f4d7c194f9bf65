"""The rate of frames from their times, against the rate that the times were made with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidboot.data.clock import rate_of


@settings(deadline=None, max_examples=80)
@given(
    st.floats(10, 120),
    st.integers(40, 300),
    st.sampled_from([1e-3, 1 / 90000]),
    st.integers(0, 5),
    st.integers(0, 2**32 - 1),
)
def test_pauses_do_not_change_a_rate(fps, count, tick, pauses, seed):
    generator = np.random.default_rng(seed)
    steps = np.full(count, 1 / fps)
    steps[generator.integers(1, count, pauses)] += generator.uniform(1, 1000, pauses)
    times = np.round(np.cumsum(steps) / tick) * tick
    # Each stretch between pauses may be a tick too long or too short.
    bound = max(1e-3, 2.5 * tick * (pauses + 1) * fps / count)
    assert rate_of(times.tolist(), tick) == pytest.approx(fps, rel=bound)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_the_order_that_a_decoder_gives_does_not_matter(depth, seed):
    """Frames at most 16 places from their own, as codecs reorder them."""
    generator = np.random.default_rng(seed)
    places = np.arange(100) + generator.uniform(0, depth, 100)
    times = np.argsort(places) / 24
    assert rate_of(times.tolist(), 1e-6) == pytest.approx(24)


def test_a_measured_rate_takes_the_place_of_one_that_the_clock_can_tell_from_it():
    times = np.round(np.arange(200) * 1001 / 24000, 3).tolist()
    assert rate_of(times, 1e-3, [24.0]) == pytest.approx(24000 / 1001, rel=1e-5)
    # In a sixth of a second, milliseconds can't tell the two apart.
    assert rate_of(times[:5], 1e-3, [24.0]) == 24.0


def test_frames_that_come_as_they_like_have_their_mean_rate():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.09, 500)).tolist()
    assert rate_of(times, 1e-3) == pytest.approx(499 / (times[-1] - times[0]))


@pytest.mark.parametrize("times", [[], [3.0], [1.0, 1.0, 1.0]])
def test_without_two_times_there_is_no_rate(times):
    assert rate_of(times, 1e-3, [24.0]) is None
