"""The maps, against loops over pixels and against what is known of a made scene."""

import cv2
import numpy as np
import pytest

from data_prep.finder.maps import CHANNELS, GRID, Sample, edges_of, maps, network_size, padded


def sample(grey: np.ndarray) -> Sample:
    half = grey.shape[0] // 2, grey.shape[1] // 2
    return Sample(grey, np.full((2, *half), 128, np.uint8))


def moving_scene(count: int, mark: bool) -> list[Sample]:
    """A blurred picture of noise that jumps from sample to sample, with a white square that stays, or without one."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 255, (96, 400), np.uint8), (0, 0), 2)
    made = []
    for number in range(count):
        grey = wide[:, 17 * number : 17 * number + 128].copy()
        if mark:
            grey[40:60, 40:60] = 255
        made.append(sample(grey))
    return made


def test_edges_are_those_of_a_loop_over_pixels():
    grey = np.random.default_rng(1).integers(0, 50, (9, 11), np.uint8)
    found = edges_of(grey)
    padded_grey = np.pad(grey.astype(int), 1, mode="reflect")
    for y in range(9):
        for x in range(11):
            p = padded_grey[y : y + 3, x : x + 3]
            dx = p[0, 2] + 2 * p[1, 2] + p[2, 2] - p[0, 0] - 2 * p[1, 0] - p[2, 0]
            dy = p[2, 0] + 2 * p[2, 1] + p[2, 2] - p[0, 0] - 2 * p[0, 1] - p[0, 2]
            # Each part is rounded to a whole number.
            assert abs(int(found[y, x]) - (abs(dx) + abs(dy)) / 4) <= 1


def test_shape_and_range():
    found = maps(moving_scene(16, mark=True), 8)
    assert found.shape == (CHANNELS, 48, 64)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert np.median(found) < 1.5


def test_a_mark_stays_where_the_scene_does_not():
    """In some map the mark's edge is larger than anything in the same scene without it, and nothing else changes."""
    with_mark, without = maps(moving_scene(16, mark=True), 8), maps(moving_scene(16, mark=False), 8)
    # Half-size pixels 19 and 30 hold the mark's edges.
    edge = np.zeros((48, 64), bool)
    edge[19:31, 19:31] = True
    edge[22:28, 22:28] = False
    standing = [channel for channel in range(CHANNELS) if with_mark[channel][edge].mean() > 2 * without[channel].max()]
    assert standing, "no map shows the mark"
    # Constant maps and the motion of the whole picture apart, pixels away from the mark are as they were.
    away = np.s_[:, :15, :]
    apart = np.abs(with_mark[away] - without[away])[:-1]
    assert apart.max() < 0.05


def test_one_sample_is_its_own_span():
    one = moving_scene(1, mark=True)
    found = maps(one, 0)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "size, expected",
    [
        ((360, 640), (360, 640)),
        ((1080, 1920), (360, 640)),
        ((180, 320), (360, 640)),
        ((640, 360), (640, 360)),
        ((240, 320), (480, 640)),
    ],
)
def test_network_size(size, expected):
    assert network_size(*size) == expected


@pytest.mark.parametrize("size", [(3, 999), (101, 57), (64, 64)])
def test_any_size_can_be_padded(size):
    height, width = network_size(*size)
    assert height % 2 == width % 2 == 0
    whole = padded(np.zeros((CHANNELS, height // 2, width // 2), np.float32))
    assert whole.shape[1] % (GRID // 2) == whole.shape[2] % (GRID // 2) == 0
    assert whole.shape[1] - height // 2 < GRID // 2
