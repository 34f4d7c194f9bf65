"""The judge of returning digits sees when another one comes back."""

import numpy as np
import pytest
from digits_run import SIZE, video
from returning_digit import Returns, classifier, covered, pictures

from vidboot.experiments.digits import digit_class


def real(seed: int, frames: int = 200, split: str = "train") -> np.ndarray:
    return video((7, 0, seed), frames, split, None)


def cut_behind_the_curtain(video: np.ndarray) -> int:
    """A frame near the middle that shows the curtain alone: one grey level all over."""
    shut = np.flatnonzero(video.reshape(len(video), -1).std(1) == 0)
    return int(shut[np.abs(shut - len(video) // 2).argmin()])


@pytest.fixture(scope="module")
def judge():
    return classifier(800)


def test_real_digits_come_back_and_an_exchanged_one_is_seen(judge):
    first, second = (next(n for n in range(99) if digit_class((7, 0, n)) == digit) for digit in (0, 1))
    a, b = real(first), real(second)
    exchanged = np.concatenate([a[: cut_behind_the_curtain(a)], b[cut_behind_the_curtain(b) :]])
    kept, changed = Returns.of([a, b]), Returns.of([exchanged])
    assert len(kept.pairs) > 5
    assert judge.predict([p.ravel() for some in kept.shown for p in some]).tolist() == (
        [0] * len(kept.shown[0]) + [1] * len(kept.shown[1])
    )
    seen = judge.predict([p.ravel() for p in changed.shown[0]])
    assert (np.diff(seen) != 0).sum() == 1
    assert kept.correlations()[0].min() > 0.98 > 0.7 > changed.correlations()[0].min()


def test_the_covered_share_is_what_was_drawn():
    video = real(3)
    shut = video.reshape(len(video), -1).std(1) == 0
    assert ((covered(video) == 1) == shut).all()
    assert set(np.round(covered(video), 2)) <= {0, 0.25, 0.5, 0.75, 1}  # three frames in which it moves


def test_without_a_digit_there_is_no_picture():
    dark = np.full((20, SIZE, SIZE, 3), 20, np.uint8)
    assert pictures(dark) == [None]
