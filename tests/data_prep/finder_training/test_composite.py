"""Composites: the same for the same seed and number, and labelled only where something is burnt in."""

import cv2
import numpy as np
import pytest

pytest.importorskip("fontTools", reason="the fonts are read by fontTools, of the extra `finder`")

from data_prep.finder.maps import CHANNELS
from data_prep.finder_training import composite, scene_text
from data_prep.finder_training.backgrounds import Backgrounds, Scene, fly_over, read_photo
from data_prep.finder_training.composite import Composer
from data_prep.finder_training.compression import compressed
from data_prep.finder_training.drawing import Drawer
from vidboot.errors import UserError


def test_the_same_seed_and_number_give_the_same_composite(backgrounds):
    one, again = Composer.of(backgrounds, 3), Composer.of(backgrounds, 3)
    again.make(0)
    for number in (4, 5):
        a, b = one.make(number), again.make(number)
        np.testing.assert_array_equal(a.maps, b.maps)
        np.testing.assert_array_equal(a.burnt_in, b.burnt_in)
        assert a.maps.shape == (CHANNELS, *a.burnt_in.shape)
        assert set(np.unique(a.burnt_in)) <= {0, 1}
    other, of_another_seed = one.make(6), Composer.of(backgrounds, 4).make(4)
    first = one.make(4).maps
    for different in (other.maps, of_another_seed.maps):
        assert different.shape != first.shape or np.abs(different - first).max() > 0.1


def test_scene_text_is_seen_but_not_labelled(backgrounds, monkeypatch):
    monkeypatch.setattr(composite, "_CLEAN", 1.0)
    monkeypatch.setattr(composite, "_SCENE_TEXT", 1.0)
    changed = []

    def watched(rng, scene, drawer):
        made = scene_text.with_scene_text(rng, scene, drawer)
        changed.append(np.abs(made.frames.astype(int) - scene.frames).max())
        return made

    monkeypatch.setattr(composite, "with_scene_text", watched)
    composer = Composer.of(backgrounds, 0)
    for number in range(4):
        assert not composer.make(number).burnt_in.any()
    assert min(changed) > 20


def test_scene_text_moves_with_the_scene(backgrounds):
    """Where the camera moves by 10 pixels a frame, so do the letters."""
    frames = np.full((3, 200, 300, 3), 128, np.uint8)
    motion = np.array([[[1, 0, 10 * n], [0, 1, 0]] for n in range(3)], float)
    for seed in range(6):
        made = scene_text.with_scene_text(
            np.random.default_rng(seed), Scene(frames, motion), Drawer(backgrounds)
        ).frames
        first, last = made[0].astype(int), made[2].astype(int)
        assert np.abs(first - 128).max() > 20
        assert np.abs(first[:, 20:260] - last[:, 40:280]).mean() < 1
        assert np.abs(first - last).mean() > 0.3


def landed(before: np.ndarray, after: np.ndarray, point: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Where the patch around a point of one picture is best found in another, near to where it is expected."""
    side, reach = 10, 14
    x, y = np.round(point).astype(int)
    ex, ey = np.round(expected).astype(int)
    patch = before[y - side : y + side + 1, x - side : x + side + 1]
    around = after[ey - side - reach : ey + side + reach + 1, ex - side - reach : ex + side + reach + 1]
    _, _, _, (dx, dy) = cv2.minMaxLoc(cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED))
    return np.array([ex - reach + dx, ey - reach + dy]) + point - [x, y]


def moves(scene: Scene) -> list[float]:
    """Errors of the motion at points that stay in the picture, pixels."""
    errors = []
    _, height, width, _ = scene.frames.shape
    for number in range(1, len(scene.frames)):
        for point in np.array([[x, y] for x in (100, 160, 220) for y in (60, 90, 120)], float):
            expected = scene.motion[number] @ [*point, 1]
            if 25 < expected[0] < width - 26 and 25 < expected[1] < height - 26:
                errors.append(np.linalg.norm(landed(scene.frames[0], scene.frames[number], point, expected) - expected))
    return errors


def test_the_motion_of_a_made_camera_says_where_a_point_comes_to_lie(backgrounds):
    photo = read_photo(backgrounds / "photos/made/2.jpg")
    errors, paths = [], 0
    for seed in range(12):
        scene = fly_over(np.random.default_rng(seed), photo, 180, 320, 6)
        np.testing.assert_allclose(scene.motion[0], np.eye(3)[:2], atol=1e-9)
        paths += np.abs(scene.motion - scene.motion[0]).max() > 3
        errors += moves(scene)
    assert paths >= 4
    assert len(errors) > 200
    assert np.percentile(errors, 90) < 1.5


def test_the_motion_of_a_video_is_tracked(backgrounds, monkeypatch):
    """The made videos pan by three pixels a frame; the cut-out enlarges that, and may add a path of its own."""
    monkeypatch.setattr("data_prep.finder_training.backgrounds._PLAIN_SHARE", 0)
    monkeypatch.setattr("data_prep.finder_training.backgrounds._PHOTO_SHARE", 0)
    errors = []
    for seed in range(4):
        errors += moves(Backgrounds(backgrounds).draw(np.random.default_rng(seed), 180, 320, 4))
    assert len(errors) > 30
    assert np.median(errors) < 2


class Drawn:
    """Draws a codec and a quality that were chosen beforehand."""

    def __init__(self, codec: str, quality: int) -> None:
        self.codec, self.quality = codec, quality

    def choice(self, names, p=None):
        return self.codec if p is not None else names[-1]

    def integers(self, low, high):
        assert low <= self.quality < high
        return self.quality


@pytest.mark.parametrize(
    "codec, qualities", [("libx264", (17, 26, 35)), ("mpeg4", (2, 7, 13)), ("mpeg2video", (2, 7, 13))]
)
def test_the_drawn_quality_is_that_of_the_video(backgrounds, codec, qualities):
    photo = read_photo(backgrounds / "photos/made/3.jpg")
    frames = np.stack([photo[20 : 20 + 180, 6 * n : 6 * n + 320] for n in range(6)])
    errors = []
    for quality in qualities:
        got = [planes[0].astype(int) for planes in compressed(Drawn(codec, quality), frames)]
        best = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(int) for frame in frames]
        assert len(got) == len(frames)
        errors.append(np.mean([np.abs(a - b).mean() for a, b in zip(got, best, strict=True)]))
    assert errors[0] < 2
    assert errors[0] * 1.3 < errors[1] < errors[2] / 1.2


@pytest.mark.parametrize(
    "missing, said", [("fonts", "holds no font"), ("marks.npz", "has no marks"), ("videos", "holds no video")]
)
def test_what_is_missing_is_named(backgrounds, tmp_path, missing, said):
    for part in ("fonts", "marks.npz", "videos", "photos"):
        if part != missing:
            (tmp_path / part).symlink_to(backgrounds / part)
    with pytest.raises(UserError, match=said):
        Composer.of(tmp_path, 0)
