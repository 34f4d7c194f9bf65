"""What moves evenly is found by its edges, and followed; what stands or moves with the camera is not."""

import cv2
import numpy as np
import pytest

from data_prep.finder.maps import Sample
from data_prep.finder.movers import follow, movers
from data_prep.finder.moving import MovingFinder
from data_prep.finder.orientations import across, orientations, tolerant

HEIGHT, WIDTH = 180, 320


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth noise with edges in all directions, uint8."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def edges(picture: np.ndarray) -> np.ndarray:
    """The orientations of a picture, given at half the network's size."""
    grey = np.repeat(np.repeat(picture, 2, 0), 2, 1)
    return orientations(Sample(grey, np.full((2, *picture.shape), 128, np.uint8)))


def with_patch(scene: np.ndarray, x: int, y: int) -> np.ndarray:
    made = scene.copy()
    made[y : y + 24, x : x + 40] = texture(9, 24, 40)
    return made


@pytest.mark.parametrize(("picture", "sector"), [("right", 0), ("down", 4), ("left", 8), ("up", 12)])
def test_an_edge_has_the_bit_of_the_direction_in_which_it_gets_brighter(picture, sector):
    ramp = np.tile(np.clip(8 * (np.arange(48) - 16), 0, 120).astype(np.uint8), (48, 1))
    turns = {"right": 0, "down": 3, "left": 2, "up": 1}[picture]
    found = edges(np.ascontiguousarray(np.rot90(ramp, turns)))
    inside = found[20:28, 20:28]
    # Sectors begin at multiples of 22.5 degrees, so a slope along an axis is in one of the two beside it.
    assert set(np.unique(inside)) <= {np.uint16(1 << sector % 16), np.uint16(1 << (sector - 1) % 16)}


def test_edges_along_a_motion_do_not_show_it():
    bits = across((5, 0))
    seen = [bool(bits >> n & 1) for n in range(16)]
    angles = (np.arange(16) + 0.5) * np.pi / 8
    assert seen == [abs(np.cos(angle)) > np.sin(np.pi / 8) for angle in angles]


@pytest.mark.parametrize("velocity", [(7, -4), (-15, 9), (0, 3)])
def test_the_velocity_and_the_place_of_a_patch_over_another_scene(velocity):
    start = np.array([150, 80])
    # A new scene for each sample: only the patch is the same.
    pictures = {
        gap: with_patch(texture(20 + gap, HEIGHT, WIDTH), *(start + gap * np.array(velocity))) for gap in range(-4, 5)
    }
    bits = {gap: edges(picture) for gap, picture in pictures.items()}
    beside = {gap: tolerant(one) for gap, one in bits.items() if gap}
    best = movers(bits[0], {gap: one for gap, one in beside.items() if abs(gap) <= 2}, 1)[0]
    assert np.abs(np.subtract(best.velocity, velocity)).max() <= 1
    assert 150 <= best.columns.mean() < 190
    assert 80 <= best.rows.mean() < 104
    places = follow(best, beside)
    assert sorted(places) == list(range(-4, 5))
    for gap, place in places.items():
        assert np.abs(np.subtract(place, gap * np.array(velocity))).max() <= 1


def test_following_ends_where_the_patch_is_gone():
    scene = texture(1, HEIGHT, WIDTH)
    pictures = {
        gap: with_patch(scene, 100 + 8 * gap, 60) if gap < 3 else texture(5, HEIGHT, WIDTH) for gap in range(-4, 5)
    }
    beside = {gap: tolerant(edges(picture)) for gap, picture in pictures.items() if gap}
    mover = movers(edges(pictures[0]), {gap: beside[gap] for gap in (-2, -1, 1, 2)}, 1)[0]
    assert max(follow(mover, beside)) == 2


def moving_looks(pictures: list[np.ndarray]) -> list[tuple[float, ...]]:
    finder = MovingFinder("none")
    for number, picture in enumerate(pictures):
        grey = cv2.resize(picture, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_LINEAR)
        finder.take(6 * number, Sample(grey, np.full((2, HEIGHT, WIDTH), 128, np.uint8)))
    return [(one.start, one.end, one.look[2], one.covered().mean()) for one in finder.close()]


@pytest.fixture
def blind_network(monkeypatch):
    """A network that says 0.5 everywhere."""

    class Net:
        def setInput(self, maps):  # noqa: N802
            self.shape = maps.shape[2:]

        def forward(self):
            return np.full((1, 1, *self.shape), 0.5, np.float32)

    monkeypatch.setattr("data_prep.finder.moving.network_of", lambda _: Net())


@pytest.mark.usefixtures("blind_network")
def test_a_patch_that_moves_over_a_scene_at_rest_is_followed_with_its_speed():
    scene = texture(1, HEIGHT, WIDTH)
    found = moving_looks([with_patch(scene, 60 + 6 * n, 60) for n in range(13)])
    assert found
    start, end, speed, passed = found[0]
    assert (start, end) == (0, 6 * 8 + 1)
    assert np.expm1(speed) == pytest.approx(12, abs=0.6)
    # The patch moves by 48 pixels: what it passes has at least that much more than its own area.
    assert passed * HEIGHT * WIDTH > 24 * 70


@pytest.mark.usefixtures("blind_network")
@pytest.mark.parametrize("camera", [0, 5])
def test_what_stands_or_moves_with_the_camera_is_not_followed(camera):
    wide = texture(1, HEIGHT, WIDTH + 100)
    assert not moving_looks([np.ascontiguousarray(wide[:, camera * n : camera * n + WIDTH]) for n in range(9)])
