"""Files that are dropped: refused in a sentence, or fitted to the run."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import write
from PIL import Image

from vidboot.app.request import AppRequest
from vidboot.app.uploads import as_first_frames, as_low_resolution, check_upload, fitted
from vidboot.data.video import read_frames
from vidboot.errors import UserError

LIMITS = AppRequest(run=Path("run"), max_megabytes=1, max_frames=10)


def film(path, frames=5, height=32, width=48):
    return write(path, np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


def test_a_film_at_the_limit_is_taken_and_one_frame_more_is_not(tmp_path):
    check_upload(film(tmp_path / "a.mp4", 10), LIMITS)
    with pytest.raises(UserError, match=r"^b\.mp4 has more than 10 frames"):
        check_upload(film(tmp_path / "b.mp4", 11), LIMITS)


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    path = tmp_path / "large.mp4"
    path.write_bytes(bytes(1_200_000))
    with pytest.raises(UserError, match=r"^large\.mp4 has 1\.1 MB, and at most 1 are taken"):
        check_upload(path, LIMITS)


@pytest.mark.parametrize(("name", "says"), [("text.mp4", "not a video"), ("text.png", "not an image")])
def test_a_text_with_another_name_is_refused(tmp_path, name, says):
    path = tmp_path / name
    path.write_text("Only words.\n" * 100)
    with pytest.raises(UserError, match=rf"^{name} can't be used: .*{says}"):
        check_upload(path, LIMITS)


def test_a_small_file_with_a_huge_picture_is_refused(tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size < 1e6
    with pytest.raises(UserError, match=r"^huge\.png has pictures of 9000×9000 pixels"):
        check_upload(tmp_path / "huge.png", LIMITS)


def test_a_picture_is_cropped_at_its_centre_and_averaged():
    frame = np.zeros((8, 20, 3), np.uint8)
    frame[:, 6:14] = np.arange(8)[None, :, None] * 20  # the central square; all else is black
    expected = frame[:, 6:14].reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(fitted(frame, 4, 4) - expected).max() <= 0.5
    assert np.array_equal(fitted(frame, 8, 20), frame)


def test_first_frames_have_the_size_of_the_run(tmp_path):
    Image.new("RGB", (30, 40), (200, 100, 50)).save(tmp_path / "photo.jpg")
    made = as_first_frames(tmp_path / "photo.jpg", tmp_path, 8, 16)
    image = cv2.imread(str(made))[..., ::-1]
    assert image.shape == (8, 16, 3)
    assert np.abs(image - np.array([200, 100, 50])).max() <= 2
    assert read_frames(as_first_frames(film(tmp_path / "a.mp4"), tmp_path, 8, 16)).shape == (5, 8, 16, 3)


def test_a_low_resolution_version_keeps_as_much_as_it_can(tmp_path):
    """Of 64×96: the version at 1/2 is what 32×48 has the pixels for, and 31×48 has them at 1/4 only."""
    frames = read_frames(as_low_resolution(film(tmp_path / "a.mp4"), tmp_path, 64, 96))
    assert np.array_equal(frames, read_frames(tmp_path / "a.mp4"))
    assert read_frames(as_low_resolution(film(tmp_path / "b.mp4", height=30), tmp_path, 64, 96)).shape[1:3] == (16, 24)
    with pytest.raises(UserError, match="less than any low-resolution version"):
        as_low_resolution(film(tmp_path / "c.mp4", height=2, width=2), tmp_path, 100, 196)
