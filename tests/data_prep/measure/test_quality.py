import cv2
import numpy as np

from data_prep.measure.quality import detail


def test_detail_tells_by_how_much_a_picture_was_scaled_up():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 480), dtype=np.uint8), (0, 0), 0.6)
    assert detail(image) == 1.0
    for factor in (2, 4):
        small = cv2.resize(image, (480 // factor, 240 // factor), interpolation=cv2.INTER_AREA)
        assert detail(cv2.resize(small, (480, 240), interpolation=cv2.INTER_CUBIC)) == 1 / factor
