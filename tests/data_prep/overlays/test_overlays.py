from dataclasses import replace

import cv2
import numpy as np
import pytest
from footage import grey_scene, write

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.masking import covered_spans, verdict
from data_prep.overlays.overlays import find_overlays
from data_prep.overlays.static_edges import OverlayFinder, Sums
from data_prep.video.decode import probe

LUMA = np.array([0.299, 0.587, 0.114])


def test_a_logo_is_found_on_a_moving_scene_and_a_still_one_is_left_open():
    logo = np.zeros((360, 640), bool)
    logo[20:60, 30:90] = True
    moving, still, clean = (OverlayFinder(360, 640) for _ in range(3))
    scene = grey_scene(2, 100)[::5]
    for image in scene:
        clean.feed(image)
        moving.feed(np.where(logo, 0.4 * image + 0.6 * 255, image).astype(np.uint8))
        still.feed(np.where(logo, 255, scene[0]).astype(np.uint8))
    covered = find_overlays(moving.sums)
    assert (logo & ~covered).sum() <= 0.05 * logo.sum() and (covered & ~logo).mean() < 0.02
    assert not find_overlays(clean.sums).any()
    assert find_overlays(still.sums) is None


@pytest.mark.parametrize("bars", [(60, 60, 0, 0), (0, 0, 80, 80)])
def test_bars_neither_hide_a_logo_nor_raise_doubts(tmp_path, bars):
    top, bottom, left, right = bars
    seen = np.zeros((360, 640), bool)
    seen[top : 360 - bottom, left : 640 - right] = True
    logo = np.zeros((360, 640), bool)
    logo[80:120, 110:170] = True
    verdicts = []
    for burnt in (False, True):
        film = np.where(seen, grey_scene(2, 100), 0)
        film = np.where(burnt & logo, 0.5 * film + 0.5 * 255, film).astype(np.uint8)
        path = write(tmp_path / f"{burnt}.mp4", np.repeat(film[..., None], 3, axis=-1), crf="23")
        found, _ = analyse(path, probe(path), Preprocess(text={"detector": "opencv"}, finder="rules"))
        covered = np.zeros(seen.shape, bool)
        for _, _, area in covered_spans(replace(found, texts=()), None):
            covered |= area
        assert covered.any() == burnt and not (covered & ~seen).any()
        if burnt:
            assert (logo & ~covered).sum() <= 0.05 * logo.sum() and (covered & ~logo).mean() < 0.02
        verdicts.append(verdict(found, False, (0, 100), burnt)[0])
    assert verdicts == ["clean", "masked"]


def test_a_logo_as_bright_as_the_scene_is_found_by_its_colour(tmp_path):
    logo = np.zeros((360, 640), bool)
    logo[40:80, 500:560] = True
    scene = np.stack([grey_scene(seed, 100) for seed in (2, 3, 4)], axis=-1)
    red = np.array([255.0, 40, 40])
    # The logo's colour is darkened until its brightness is the mean of the scene behind it.
    level = (scene[:, logo] @ LUMA).mean() / (red @ LUMA)
    assert level < 1
    burnt = np.where(logo[..., None], 0.55 * scene + 0.45 * level * red, scene).astype(np.uint8)
    by_grey = OverlayFinder(360, 640)
    for frame in burnt[::5]:
        by_grey.feed(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    assert not find_overlays(by_grey.sums).any()
    for film, there in ((burnt, True), (scene, False)):
        path = write(tmp_path / f"{there}.mp4", film, crf="23")
        found, _ = analyse(path, probe(path), Preprocess(text={"detector": "opencv"}, finder="rules"))
        covered = np.zeros(logo.shape, bool)
        for _, _, area in covered_spans(replace(found, texts=()), None):
            covered |= area
        assert covered.any() == there
        assert not there or (logo & ~covered).sum() <= 0.05 * logo.sum()
        assert (covered & ~logo).mean() < 0.025


def test_a_logo_is_found_though_its_own_letters_are_taken_for_a_text():
    burnt, clean = OverlayFinder(360, 640), OverlayFinder(360, 640)
    sign = signed(np.zeros((360, 640), np.uint8)) > 0
    box = (30, 30, 85, 150)
    for number, image in enumerate(grey_scene(2, 200)[::5]):
        for finder, picture in ((burnt, signed(image)), (clean, image)):
            finder.feed(picture, [box] if number >= 9 else [])
    assert burnt.sums.passed_all()
    covered = find_overlays(burnt.sums)
    assert (sign & ~covered).sum() <= 0.05 * sign.sum()
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert rows[0] >= 20 and rows[-1] < 95 and columns[0] >= 20 and columns[-1] < 160  # the text's box and a margin
    assert not find_overlays(clean.sums).any()


def signed(image, at=(40, 70)):
    """A picture with letters burnt in."""
    for thickness, colour in ((6, 60), (2, 220)):
        image = cv2.putText(image.copy(), "NEWS", at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, colour, thickness)
    return image


def test_a_logo_in_front_of_a_plain_sky_is_left_open_unless_the_camera_goes_past():
    cuts, pan, clean = (OverlayFinder(360, 640) for _ in range(3))
    for number, image in enumerate(grey_scene(2, 100)[::5].copy()):
        other = grey_scene(60 + number, 1)[0]
        for picture in (image, other):
            picture[:, :120] = 120
        cuts.feed(signed(other))
        pan.feed(signed(image))
        clean.feed(image)
    assert cuts.sums.moving() and find_overlays(cuts.sums) is None
    sign = signed(np.zeros((360, 640), np.uint8)) > 0
    covered = find_overlays(pan.sums)
    assert (sign & ~covered).sum() <= 0.05 * sign.sum() and (covered & ~sign).mean() < 0.02
    assert not find_overlays(clean.sums).any()


def rails(seed, num_frames, speed):
    """A scene that moves sideways by `speed` pixels per frame; most edges are long and parallel to the motion."""
    generator = np.random.default_rng(seed)
    wide = generator.integers(0, 256, (30, 640 + round(num_frames * speed)), dtype=np.uint8)
    wide = cv2.resize(wide, (wide.shape[1], 360), interpolation=cv2.INTER_NEAREST)
    wide = cv2.GaussianBlur(wide, (0, 0), sigmaX=60, sigmaY=1)
    wide = cv2.normalize(wide, None, 20, 180, cv2.NORM_MINMAX)
    for x in range(0, wide.shape[1] - 20, 40):
        y = int(generator.integers(0, 350))
        wide[y : y + 10, x : x + 10] += 60
    return [wide[:, round(speed * n) :][:, :640] for n in range(num_frames)]


def test_a_logo_is_told_though_most_of_the_scenes_edges_stay_because_they_run_along_the_cameras_way():
    burnt, clean = OverlayFinder(360, 640), OverlayFinder(360, 640)
    for image in rails(0, 40, 6):
        clean.feed(image)
        burnt.feed(signed(image))
    assert not clean.sums.moving() and not burnt.sums.moving()
    sign = signed(np.zeros((360, 640), np.uint8)) > 0
    covered = find_overlays(burnt.sums)
    assert (sign & ~covered).sum() <= 0.05 * sign.sum() and (covered & ~sign).mean() < 0.02
    assert find_overlays(clean.sums) is not None and not find_overlays(clean.sums).any()


def test_of_a_plain_box_the_whole_is_found_though_only_its_ends_lie_across_the_cameras_way():
    finder, box = OverlayFinder(360, 640), np.zeros((360, 640), bool)
    box[280:320, 500:590] = True
    for image in rails(1, 40, 6):
        finder.feed(np.where(box, 0.3 * image + 0.7 * 255, image).astype(np.uint8))
    covered = find_overlays(finder.sums)
    assert (box & ~covered).sum() <= 0.05 * box.sum() and (covered & ~box).mean() < 0.02


def test_what_stays_where_a_camera_that_zooms_does_not_get_far_is_left_open():
    finder, picture = OverlayFinder(360, 640), grey_scene(2, 1)[0]
    for number in range(40):
        zoom = 1 - 0.012 * number
        matrix = np.array([[zoom, 0, 320 * (1 - zoom)], [0, zoom, 180 * (1 - zoom)]])
        finder.feed(cv2.warpAffine(picture, matrix, (640, 360), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    assert finder.sums.moving() and not finder.sums.passed()[150:210, 290:350].any()
    assert find_overlays(finder.sums) is None


def test_a_camera_that_shakes_goes_nowhere_however_long_its_way():
    finder, scene = OverlayFinder(360, 640), grey_scene(5, 4)
    for number in range(60):
        finder.feed(scene[number % 3])
    assert (finder.sums.along.count > 40).mean() > 0.9
    assert not finder.sums.passed().any()


def test_something_large_that_the_camera_follows_is_left_open():
    finder = OverlayFinder(360, 640)
    followed = grey_scene(8, 1)[0]
    for image in rails(0, 40, 6):
        image = image.copy()
        image[80:300, 180:480] = followed[80:300, 180:480]
        finder.feed(image)
    assert find_overlays(finder.sums) is None


def test_what_stays_faintly_beside_a_logo_is_not_masked_with_it():
    finder = OverlayFinder(360, 640)
    for image in grey_scene(2, 100)[::5].copy():
        wide = image.astype(float)
        wide[10:100, 120:270] = 0.35 * wide[10:100, 120:270] + 60
        wide[20:90:14, 130:260] += 6
        wide[20:90, 130:260:14] += 6
        image = cv2.putText(wide.astype(np.uint8), "NEWS", (30, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
        finder.feed(image)
    logo = cv2.putText(np.zeros((360, 640), np.uint8), "NEWS", (30, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4) > 0
    covered = find_overlays(finder.sums)
    assert (logo & ~covered).sum() <= 0.05 * logo.sum() and not covered[:, 160:].any()


def test_few_still_shots_are_left_open_and_of_many_the_logo_is_told():
    few, many, clean = (OverlayFinder(360, 640) for _ in range(3))
    for shot in range(24):
        picture = grey_scene(40 + shot, 1)[0]
        burnt = cv2.putText(picture.copy(), "NEWS", (40, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
        # Flickering light: the brightness varies, but the edges are static.
        for light in (0.8, 1.0, 0.7):
            clean.feed((light * picture).astype(np.uint8))
            many.feed((light * burnt).astype(np.uint8))
        for light in (0.8, 1.0, 0.7) * 4 * (shot < 3):
            few.feed((light * burnt).astype(np.uint8))
    assert find_overlays(few.sums) is None
    logo = cv2.putText(np.zeros((360, 640), np.uint8), "NEWS", (40, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4) > 0
    covered = find_overlays(many.sums)
    assert (logo & ~covered).sum() <= 0.05 * logo.sum() and (covered & ~logo).mean() < 0.02
    assert not find_overlays(clean.sums).any()


def test_what_stands_still_in_one_long_shot_is_no_overlay_of_the_video_and_what_all_shots_show_is():
    with_logo, clean = Sums.zero(360, 640), Sums.zero(360, 640)
    for shot in range(24):
        picture = grey_scene(40 + shot, 1)[0]
        picture[160:220, 290:420] = 120  # where other shots have no edges, one shot's outweigh them
        picture = signed(picture, (300, 200)) if shot == 5 else picture
        finders = OverlayFinder(360, 640), OverlayFinder(360, 640)
        for light in (0.8, 1.0, 0.7) * (10 if shot == 5 else 1):
            for finder, image in zip(finders, (signed(picture), picture), strict=True):
                finder.feed((light * image).astype(np.uint8))
        with_logo.add_shot(finders[0].sums)
        clean.add_shot(finders[1].sums)
    assert find_overlays(clean) is None  # one shot's sign, or a logo that others hide: that is for shots to tell
    covered = find_overlays(with_logo)
    logo = signed(np.zeros((360, 640), np.uint8)) > 0
    assert (logo & ~covered).sum() <= 0.05 * logo.sum() and not covered[150:].any()


def test_edges_along_the_cameras_way_are_no_overlay():
    scene = grey_scene(3, 100)[::5].copy()
    # A shop front's ledge, longer than the picture: it stays where it is while the camera drives past.
    scene[:, 150:160] = 230
    finder = OverlayFinder(360, 640)
    for image in scene:
        finder.feed(image)
    assert finder.sums.moving() and not find_overlays(finder.sums).any()
    sign = OverlayFinder(360, 640)
    for image in scene:
        image[140:180:8, 200:420] = image[140:180, 200:420:8] = 230
        sign.feed(image)
    assert find_overlays(sign.sums)[150:160, 200:420].all()
