import cv2
import numpy as np
import pytest

from data_prep.measure.fingerprint import Fingerprint, alike


def hashes(first, last):
    """Hashes of unrelated pictures."""
    made = Fingerprint()
    for seed in range(first, last):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        made.feed(cv2.resize(coarse, (64, 64)))
    return made.hashes


@pytest.mark.parametrize(("one", "other"), [(63, 64), (64, 65), (65, 64), (65, 66), (128, 129), (129, 128)])
def test_videos_whose_lengths_differ_by_a_second_are_alike(one, other):
    assert alike(hashes(0, one), hashes(0, other))
    assert not alike(hashes(0, one), hashes(500, 500 + other))


def test_a_video_and_its_first_half_are_not_alike():
    assert not alike(hashes(0, 40), hashes(0, 20)) and not alike(hashes(0, 60), hashes(0, 34))
