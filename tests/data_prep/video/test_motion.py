import cv2
import numpy as np
import pytest

from data_prep.video.motion import camera_motion, displacements


def picture(seed, height=600, width=900):
    """Blobs of many sizes."""
    generator = np.random.default_rng(seed)
    layers = [generator.normal(0, 1, (height // k, width // k)).astype(np.float32) for k in (4, 12, 36)]
    mixed = sum(cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in layers)
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)


def view(image, left, top, zoom=1.0):
    """The part of the picture that a camera sees, 360×640, from this corner on."""
    matrix = np.array([[1 / zoom, 0, left], [0, 1 / zoom, top]])
    return cv2.warpAffine(image, matrix, (640, 360), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def with_sign(image):
    """The picture with static letters on it."""
    return cv2.putText(image.copy(), "example.org", (60, 320), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 255, 6)


@pytest.mark.parametrize(("left", "top", "zoom"), [(112.0, 100.0, 1.0), (95.5, 107.0, 1.0), (100.0, 100.0, 1.04)])
def test_the_cameras_motion_is_found_to_half_a_pixel_though_a_sign_stands_still(left, top, zoom):
    scene = picture(0)
    matrix = camera_motion(with_sign(view(scene, 100, 100)), with_sign(view(scene, left, top, zoom)))
    moved = displacements(matrix, 360, 640)
    ys, xs = np.mgrid[:360, :640]
    # By how much a point of the scene at (x, y) has moved.
    wanted = np.stack([(xs + 100 - left) * zoom - xs, (ys + 100 - top) * zoom - ys])
    assert np.abs(moved - wanted).max() < 0.5


def test_a_camera_that_stands_still_has_no_motion_though_something_moves_past_it():
    scene, generator = picture(1), np.random.default_rng(0)
    for at in (0, 40):
        pictures = []
        for shift in (0, at):
            image = view(scene, 100, 100) + generator.normal(0, 2, (360, 640))
            image[100:250, 150 + shift : 350 + shift] = view(picture(2), 0, 0)[100:250, 150:350]
            pictures.append(np.clip(image, 0, 255).astype(np.uint8))
        assert camera_motion(*pictures) is None


def test_pictures_that_have_nothing_in_common_or_no_corners_have_no_motion():
    assert camera_motion(view(picture(3), 100, 100), view(picture(4), 100, 100)) is None
    assert camera_motion(np.full((360, 640), 90, np.uint8), np.full((360, 640), 90, np.uint8)) is None
