import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import TRAILER, analysed, grey_scene, probed, segment, write

from data_prep.analysis import analyse
from data_prep.analysis_types import Overlay, Text, pack
from data_prep.config import MaskSettings, Preprocess
from data_prep.masking import Coverage, matching, mostly_left, shot_mask, users_spans, verdict
from data_prep.video.decode import probe
from vidboot.data.video import VideoError, read_frames
from vidboot.errors import UserError
from vidboot.settings import check_settings

FILM = analysed(100, probe=probed(2160, 3840))


def test_a_still_shot_with_a_logo_is_not_clean_because_another_shot_moves(tmp_path):
    still = cv2.resize(read_frames(TRAILER, [600])[0], (640, 360))
    cv2.circle(still, (580, 50), 28, (255, 255, 255), 5)
    cv2.putText(still, "TV", (562, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 3, cv2.LINE_AA)
    moving = np.repeat(grey_scene(1, 240)[..., None], 3, axis=-1)
    film = np.concatenate([moving, np.repeat(still[None], 100, axis=0)])
    path = write(tmp_path / "film.mp4", film, preset="ultrafast")
    found, _ = analyse(path, probe(path), Preprocess(text={"detector": "opencv"}, finder="rules"))
    spans = [(span.start, span.end) for span in found.spans]
    # Coarse compression blends the first frames after the cut.
    assert spans in ([(0, 240), (start, 340)] for start in (240, 241, 242)) and found.moving
    # Without the texts: this test is about overlays.
    verdicts = [verdict(replace(found, texts=()), False, span, False)[0] for span in spans]
    assert verdicts == ["clean", "uncertain"]
    assert verdict(replace(found, texts=()), True, spans[1], False)[0] == "clean"


@pytest.mark.parametrize(
    ("frames", "motion", "said"), [(50, 3.0, "clean"), (50, 0.1, "uncertain"), (400, 3.0, "uncertain")]
)
def test_a_film_of_many_shots_tells_of_a_short_one_that_is_no_still_picture(frames, motion, said):
    edges = [0, frames, *range(frames + 50, 1001, 50)]
    pairs = itertools.pairwise(edges)
    found = analysed(1000, segments=tuple(segment(a, b, moving=False, motion=4.0 if a else motion) for a, b in pairs))
    assert verdict(found, False, (0, frames), False)[0] == said
    assert verdict(found, False, (frames, frames + 50), False)[0] == "clean"
    assert verdict(replace(found, moving=False), False, (frames, frames + 50), False)[0] == "uncertain"


def users(**mask):
    """Settings with one mask of the user's, for all files by default."""
    return check_settings(Preprocess, {"height": 90, "width": 160, "masks": [{"source": "*", **mask}]}, "settings")


def test_a_thin_box_of_a_large_film_covers_all_that_it_touches():
    # Rows 1002 and 1003 of 2160 are a third of row 167 of 360.
    ((start, end, covered),) = users_spans(FILM, Path("a.mp4"), users(box=[1002, 600, 2, 300]).masks)
    assert (start, end) == (0, 100)
    expected = np.zeros((360, 640), bool)
    expected[167, 100:150] = True
    assert np.array_equal(covered, expected)


def test_a_mask_that_covers_nothing_is_refused():
    for wrong in ({"box": [-10, 0, 40, 60]}, {"box": [0, 0, 0, 60]}, {"box": [0, 0, 9, 9], "start": 30, "end": 30}):
        with pytest.raises(UserError, match=r"must be"):
            users(**wrong)
    with pytest.raises(VideoError, match=r"a.mp4: its mask's box .* outside the picture of 3840×2160"):
        list(users_spans(FILM, Path("a.mp4"), users(box=[0, 3840, 40, 60]).masks))
    # A mask that begins after the film's end has no effect, but is no error.
    assert not list(users_spans(FILM, Path("a.mp4"), users(box=[0, 0, 9, 9], start=100).masks))


def test_a_mask_replaces_what_is_found_whether_it_matches_the_name_or_the_path():
    pooled = np.ones((360, 640), bool)
    for source in ("b*", "/a/*", "a/b.mp4", "./a/*.mp4"):
        settings = users(source=source, box=[0, 0, 60, 60], replace=True)
        assert matching(settings.masks, Path("/a/b.mp4")) == [0] and matching(settings.masks, Path("/c/d.mp4")) == []
        assert len(Coverage(FILM, pooled, Path("/a/b.mp4"), settings).of(range(100))) == 1
        assert len(Coverage(FILM, pooled, Path("/c/d.mp4"), settings).of(range(100))) == 1


def test_columns_are_shrunk_by_their_own_ratio():
    # 2000 × 45 pixels are analysed at 640 × 14, so rows and columns shrink by 3.21 and 3.125.
    film = replace(FILM, size=(14, 640), probe=probed(45, 2000))
    covered = np.zeros((14, 640), bool)
    covered[:, 608:] = True  # columns from 1900 on
    track = shot_mask([(0, 100, covered)], (0, 100), (0, 1900, 45, 100), film, users())
    assert track.events[0].covered.all()
    assert not shot_mask([(0, 100, covered)], (0, 100), (0, 1800, 45, 100), film, users()).events


def test_a_box_takes_away_what_is_found_in_its_frames_and_nothing_else():
    logo, sign = np.zeros((360, 640), bool), np.zeros((360, 640), bool)
    logo[20:40, 560:600] = True
    sign[200:260, 100:180] = True
    text = Text(30, 60, (300, 200, 320, 400), pack(np.ones((20, 200), bool)), sure=True)
    film = replace(FILM, texts=(text,), overlays=(Overlay(10, 90, pack(logo | sign), 1.0),))
    # Six source pixels are one of the analysed picture: the box is the sign's, in frames 40 to 70.
    away = {"source": "a.mp4", "box": [1200, 600, 360, 480], "start": 40, "end": 70, "remove": True}
    own = {"source": "a.mp4", "box": [1200, 600, 6, 6], "start": 50, "end": 80}
    settings = check_settings(Preprocess, {"masks": [away, own]}, "settings")
    wanted = np.zeros((100, 360, 640), bool)
    wanted[10:90] = logo
    wanted[30:60, 300:320, 200:400] = True
    wanted[10:40] |= sign
    wanted[70:90] |= sign
    wanted[50:80, 200, 100] = True  # the user's mask is added, whatever is taken away there
    for name, expected in (("a.mp4", wanted), ("b.mp4", None)):
        made = np.zeros_like(wanted)
        for start, end, area in Coverage(film, None, Path(name), settings).of(range(100)):
            made[start:end] |= area
        if expected is None:
            assert made[10:90, 200:260, 100:180].all()
        else:
            assert np.array_equal(made, expected)
    assert Coverage(film, None, Path("a.mp4"), settings).of(range(90, 100)) == []


def test_a_pixel_that_lies_partly_in_a_box_stays_masked():
    logo = np.zeros((360, 640), bool)
    logo[20:40, 560:600] = True
    film = replace(FILM, overlays=(Overlay(0, 100, pack(logo), 1.0),))
    settings = users(box=[121, 3360, 119, 240], remove=True)  # all but one row of source pixels
    (span,) = Coverage(film, None, Path("a.mp4"), settings).of(range(5))
    assert span[2].sum() == 40 and span[2][20].sum() == 40


def test_what_is_taken_away_must_have_a_place():
    for wrong in ({"remove": True}, {"remove": True, "replace": True, "box": [0, 0, 9, 9]}):
        with pytest.raises(UserError, match=r"remove"):
            users(**wrong)


def test_a_shot_of_which_more_is_in_doubt_than_masked_is_uncertain():
    def area(rows: int) -> str:
        covered = np.zeros((360, 640), bool)
        covered[:rows] = True
        return pack(covered)

    def told(masked: int, doubted: int, frames: tuple[int, int], probability: float = 0.2, away: int = 360) -> str:
        doubt = Overlay(*frames, area(doubted), None, sure=False, probability=probability)
        found = analysed(100, overlays=(Overlay(0, 100, area(masked), None), doubt))
        removed = [MaskSettings(source="film.mp4", box=[away, 0, 360 - away, 640], remove=True)] if away < 360 else []
        coverage = Coverage(found, None, Path("film.mp4"), Preprocess(masks=removed))
        return verdict(found, True, (0, 100), True, mostly_left(coverage, (0, 100)))[0]

    # What is masked is in doubt no longer; a doubt counts while it is shown, and if it is one.
    assert told(10, 19, (0, 100)) == told(10, 60, (40, 55)) == told(10, 300, (0, 100), 0.05) == "masked"
    assert told(10, 21, (0, 100)) == told(10, 60, (30, 70)) == "uncertain"
    # What the user takes away is none.
    assert told(10, 300, (0, 100), away=10) == "masked"
