"""Bars in part of a film: films are made here and encoded, so the bars' places are known."""

import cv2
import numpy as np
import pytest
from footage import TRAILER, grey_scene, write

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.masking import verdict
from data_prep.measure.shot_borders import look, shot_pictures
from data_prep.run import preprocess
from data_prep.video.decode import probe
from vidboot.data.video import read_frames

HEIGHT, WIDTH = 180, 320
OPENCV = Preprocess(text={"detector": "opencv"})
# First frames of parts of the trailer that show pictures up to their edges.
SCENES = (345, 905, 600, 1060, 470)


@pytest.fixture(scope="module")
def trailer():
    return read_frames(TRAILER)


def barred(frames, top=0, bottom=0, left=0, right=0):
    """The frames scaled into what bars leave of the picture."""
    film = np.zeros_like(frames)
    size = (WIDTH - left - right, HEIGHT - top - bottom)
    for image, shown in zip(film, frames, strict=True):
        image[top : HEIGHT - bottom, left : WIDTH - right] = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    return film


def told(path, film, crf="26"):
    write(path, film, crf=crf)
    found, _ = analyse(path, probe(path), OPENCV)
    return found


def pictures(found):
    return [(span.picture, span.bars_known) for span in found.spans]


def near(picture, wanted):
    """Whether two pictures have the same edges within a pixel."""
    (top, left, rows, columns), (y, x, height, width) = picture, wanted
    edges = (top - y, left - x, top + rows - y - height, left + columns - x - width)
    return max(map(abs, edges)) <= 1


WHOLE = (0, 0, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("place", "bars"),
    [
        (0, (22, 22, 0, 0)),
        (1, (0, 0, 40, 40)),
        (2, (0, 0, 110, 109)),
        (1, (24, 20, 16, 16)),
        (0, (3, 3, 0, 0)),
        (2, (44, 44, 0, 0)),
    ],
)
def test_bars_in_a_part_of_a_film_are_found_where_they_are(trailer, tmp_path, bars, place):
    parts = [trailer[start : start + 48] for start in SCENES[:3]]
    parts[place] = barred(parts[place], *bars)
    found = told(tmp_path / "a.mp4", np.concatenate(parts))
    top, bottom, left, right = bars
    inside = (top, left, HEIGHT - top - bottom, WIDTH - left - right)
    assert {0, 48, 96} <= {span.start for span in found.spans} and found.picture == WHOLE
    for span in found.spans:
        assert span.bars_known
        assert near(span.picture, inside) if span.start // 48 == place else span.picture == WHOLE


def test_the_stored_shots_have_no_bars(trailer, tmp_path):
    plain = trailer[SCENES[0] : SCENES[0] + 96]
    film = np.concatenate([barred(plain[:48], 30, 30), trailer[SCENES[3] : SCENES[3] + 48]])
    path = write(tmp_path / "a.mp4", film, crf="18")
    views = OPENCV.views.model_copy(update={"clip_frames": 8})
    settings = OPENCV.model_copy(update={"height": 60, "width": 120, "workers": 1, "views": views})
    first, second = preprocess([path], tmp_path / "out", settings).manifest
    # Of the pictures without bars, the middle at the stored aspect ratio.
    assert near(first.crop, (30, 40, 120, 240)) and second.crop == (10, 0, 160, WIDTH)
    wanted = [cv2.resize(image[30:150, 40:280], (120, 60), interpolation=cv2.INTER_AREA) for image in film[:48]]
    difference = np.abs(first.frames().astype(int) - np.stack(wanted)).mean(axis=(0, 2, 3))
    # A bar of one row, shrunk to half, would show as 15 grey levels at the least.
    assert difference.max() < 8


def test_a_film_with_bars_all_along_has_one_picture_also_where_it_is_dark(trailer, tmp_path):
    parts = [trailer[start : start + 48] for start in SCENES[:3]]
    parts.insert(1, night(1, 48))
    found = told(tmp_path / "a.mp4", barred(np.concatenate(parts), 20, 22))
    assert len(found.spans) == 4 and near(found.picture, (20, 0, 138, WIDTH))
    assert pictures(found) == [(found.picture, True)] * 4


def night(seed, count, lamps=0):
    """A dark sky over hills, which the camera passes; `lamps` are lit in the sky."""
    columns = np.arange(WIDTH + 4 * count)
    hills = 70 + 20 * np.sin(columns / 37 + seed) + 9 * np.sin(columns / 11 + seed)
    film = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    ground = grey_scene(seed, count)[:, :HEIGHT, :WIDTH, None] // 2 + 30
    for number, image in enumerate(film):
        lit = np.arange(HEIGHT)[:, None] > hills[4 * number : 4 * number + WIDTH]
        lit &= np.arange(HEIGHT)[:, None] < 150
        image[:] = np.where(lit[..., None], ground[number], 4)
        for lamp in range(lamps):
            cv2.circle(image, (30 + 50 * lamp, 10), 5, (250, 240, 200), -1)
    return film


@pytest.mark.parametrize("lamps", [0, 5])
def test_a_night_shot_is_cropped_only_where_nothing_is_and_the_shots_around_it_agree(trailer, tmp_path, lamps):
    day = [trailer[start : start + 48] for start in SCENES[:2]]
    dark = night(1, 48, lamps)
    between = told(tmp_path / "a.mp4", np.concatenate([barred(day[0], 22, 22), dark, barred(day[1], 22, 22), *day]))
    picture, known = pictures(between)[1]
    assert picture == WHOLE and not known if lamps else near(picture, (22, 0, 136, WIDTH)) and known
    # Beside a shot without bars, and in a film that has none, it stays whole.
    beside = told(tmp_path / "b.mp4", np.concatenate([barred(day[0], 22, 22), dark, day[1]]))
    assert pictures(beside)[1] == (WHOLE, False)
    assert verdict(beside, False, (48, 96), False)[0] == "uncertain"
    none = told(tmp_path / "c.mp4", np.concatenate([day[0], dark, day[1]]))
    assert pictures(none) == [(WHOLE, True)] * 3


def test_a_shot_too_short_to_be_looked_at_has_the_bars_that_both_shots_beside_it_have(trailer):
    with_bars, without = [look(grey(barred(trailer[345:346], 22, 22)))], [look(grey(trailer[345:346]))]

    def settled(*shots):
        return shot_pictures(WHOLE, HEIGHT, WIDTH, shots)

    inside = (22, 0, 136, WIDTH)
    assert settled(with_bars, [], with_bars, without) == [(inside, True)] * 3 + [(WHOLE, True)]
    assert settled(without, with_bars, []) == [(WHOLE, True), (inside, True), (inside, True)]
    assert settled(with_bars, [], without) == [(inside, True), (WHOLE, False), (WHOLE, True)]
    assert settled(with_bars, without, [], without)[2] == (WHOLE, True)
    assert settled([], []) == [(WHOLE, True)] * 2 and settled() == []


def grey(film):
    return film[0].mean(axis=-1).astype(np.uint8)


@pytest.mark.parametrize("bars", [(22, 22, 0, 0), (6, 6, 0, 0), (0, 0, 40, 40), (0, 0, 8, 8)])
def test_bars_that_come_within_a_shot_are_cut_off_or_never_clean(trailer, tmp_path, bars):
    scene = trailer[SCENES[0] : SCENES[0] + 144]
    film = np.concatenate([scene[:72], barred(scene[72:], *bars)])
    found = told(tmp_path / "a.mp4", film)
    for span in found.spans:
        top, bottom, left, right = bars
        inside = (top, left, HEIGHT - top - bottom, WIDTH - left - right)
        alone = near(span.picture, inside) if span.start >= 72 else span.end <= 72 and span.picture == WHOLE
        assert (alone and span.bars_known) or verdict(found, True, (span.start, span.end), False)[0] == "uncertain"


def test_bars_that_slide_in_are_never_clean(trailer, tmp_path):
    film = trailer[SCENES[0] : SCENES[0] + 144].copy()
    for number, image in enumerate(film):
        width = min(max(0, (number - 36) // 2), 30)
        image[:width] = image[HEIGHT - width :] = 0
    found = told(tmp_path / "a.mp4", film)
    (span,) = found.spans
    assert verdict(found, True, (span.start, span.end), False) == (
        "uncertain",
        "bars may be there in some of the frames",
    )
    assert verdict(found, True, (span.start, span.end), True)[1].endswith("bars may be there in some of the frames")


def test_a_subtitle_and_a_logo_in_the_bars_change_nothing(trailer, tmp_path):
    parts = [barred(trailer[start : start + 48], 24, 24) for start in SCENES[:2]]
    film = np.concatenate([*parts, trailer[SCENES[2] : SCENES[2] + 48]])
    for image in film[:96]:
        cv2.putText(image, "TV", (4, 16), 0, 0.5, (200, 200, 60), 2, cv2.LINE_AA)
        cv2.putText(image, "Where are you going?", (70, 173), 0, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    found = told(tmp_path / "a.mp4", film)
    assert [near(picture, (24, 0, 132, WIDTH)) for picture, _ in pictures(found)] == [True, True, False]


def test_shots_without_bars_in_a_film_that_mostly_has_them_are_whole(trailer, tmp_path):
    scenes = [barred(trailer[SCENES[k % 5] : SCENES[k % 5] + 96], 20, 20) for k in range(12)]
    film = np.concatenate([*scenes[:6], trailer[SCENES[1] : SCENES[1] + 30], *scenes[6:]])
    found = told(tmp_path / "a.mp4", film)
    assert near(found.picture, (20, 0, 140, WIDTH))
    for span in found.spans:
        assert span.picture == (WHOLE if (span.start, span.end) == (576, 606) else found.picture) and span.bars_known
