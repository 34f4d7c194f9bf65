import cv2
import numpy as np
import pytest
from footage import grey_scene

from data_prep.text.shape import darkened_box
from data_prep.text.subtitles import SubtitleFinder


def subtitle():
    """White letters with a dark outline, uint8 `H W`; 0 elsewhere."""
    layer = np.zeros((360, 640), np.uint8)
    for thickness, colour in ((7, 1), (2, 255)):
        cv2.putText(layer, "Where are you going?", (150, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.0, colour, thickness)
    return layer


def test_a_text_is_masked_while_it_stands_and_a_text_free_scene_is_not():
    free, burnt = SubtitleFinder(25.0, None), SubtitleFinder(25.0, None)
    layer = subtitle()
    changed = layer > 0
    for number, image in enumerate(grey_scene(1, 110)):
        free.feed(image)
        burnt.feed(np.where(changed, layer, image) if 30 <= number < 80 else image)
    assert not [event for event in free.finish() if event.sure]
    covered = np.zeros((110, 360, 640), bool)
    for event in burnt.finish():
        top, left, bottom, right = event.box
        covered[event.start : event.end, top:bottom, left:right] |= event.covered & event.sure
    shown = np.flatnonzero(covered.any(axis=(1, 2)))
    assert abs(shown[0] - 30) <= 2 and abs(shown[-1] - 79) <= 2
    assert (changed & ~covered[55]).sum() <= 0.02 * changed.sum()
    assert (covered[55] & ~changed).mean() < 0.04


@pytest.mark.parametrize(("cuts", "span"), [((30, 80), (30, 80)), ((), (29, 81))])
def test_a_text_that_comes_and_goes_with_cuts_covers_no_frame_of_other_shots(cuts, span):
    finder = SubtitleFinder(25.0, None)
    layer = subtitle()
    film = np.concatenate([grey_scene(1, 30), grey_scene(2, 50), grey_scene(3, 30)])
    for number, image in enumerate(film):
        finder.feed(np.where(layer > 0, layer, image) if 30 <= number < 80 else image)
        if number - 2 in cuts:  # a cut is known a little later
            finder.cut(number - 2)
    assert {(event.start, event.end) for event in finder.finish() if event.sure} == {span}


def test_a_text_stands_only_for_those_who_ask_since_a_frame_before_it_came():
    finder = SubtitleFinder(25.0, None)
    layer = subtitle()
    for number, image in enumerate(grey_scene(1, 60)):
        finder.feed(np.where(layer > 0, layer, image) if number >= 30 else image)
    assert finder.standing(0) and finder.standing(25) and not finder.standing(35)
    # A text that is there from the start may be a logo.
    finder = SubtitleFinder(25.0, None)
    for image in grey_scene(1, 60):
        finder.feed(np.where(layer > 0, layer, image))
    assert finder._active and not finder.standing(0)


def test_a_text_that_is_spotted_late_is_told_by_how_the_scene_moved_before():
    drifting = grey_scene(1, 60)
    drifting[40:] = drifting[40]
    layer = subtitle()
    finder = SubtitleFinder(25.0, None)
    detect = finder._letters.feed
    finder._letters.feed = lambda image: detect(image) if finder._last > 50 else detect(image)[:0]
    for number, image in enumerate(drifting):
        level = min(1.0, max(0, number - 8) / 10)  # it fades in over a scene that moves
        finder.feed(np.where(layer > 0, (1 - level) * image + level * layer, image).astype(np.uint8))
    assert [(event.start, event.end) for event in finder.finish() if event.sure] == [(pytest.approx(9, abs=2), 60)]


def test_a_dark_box_is_found_by_what_it_does_to_the_picture_and_an_outline_is_none():
    scene = grey_scene(4, 2)[0]
    boxed = scene.copy()
    boxed[290:334, 100:540] = 0.35 * scene[290:334, 100:540]
    outlined = scene.copy()
    for image in (boxed, outlined):
        for thickness, colour in ((7, 0), (2, 255)):
            cv2.putText(image, "Where are you going?", (150, 322), cv2.FONT_HERSHEY_SIMPLEX, 1.0, colour, thickness)
    letters = (298, 150, 328, 490)
    assert np.abs(np.subtract(darkened_box(letters, boxed, scene), (290, 100, 334, 540))).max() <= 2
    assert darkened_box(letters, outlined, scene) is None
    # If the whole picture gets darker, the film fades out.
    assert darkened_box(letters, (0.35 * scene).astype(np.uint8), scene) is None


def test_a_box_that_takes_the_place_of_another_is_found_though_where_both_lie_nothing_gets_darker():
    scene = grey_scene(4, 2)[0]
    before, shown = scene.copy(), scene.copy()
    before[270:312, 60:580] = 0.35 * scene[270:312, 60:580]
    shown[290:334, 100:540] = 0.35 * scene[290:334, 100:540]
    letters, other = (298, 150, 328, 490), (270, 60, 312, 580)
    found = darkened_box(letters, shown, before, [other])
    assert np.abs(np.subtract(found, (290, 100, 334, 540))).max() <= 2
