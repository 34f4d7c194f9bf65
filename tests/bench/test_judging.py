import numpy as np
import pytest
from judging import Found, judge, summary

SIZE = (360, 640)
LOGO = {"kind": "logo", "says": "M", "box": [100, 40, 200, 80], "start": None, "end": None}


def found(areas, shots=((0, 10, "clean", ""),), kept=(0, 0, *SIZE), size=SIZE):
    """Ten frames at 10 fps; `areas`: first frame, frame after the last, rows, columns that are masked."""

    def covered(number):
        picture = np.zeros(size, bool)
        for start, end, rows, columns in areas:
            if start <= number < end:
                picture[rows, columns] = True
        return picture

    return Found(10, 10.0, kept, list(shots), covered)


def test_the_share_of_a_box_is_the_mean_over_the_frames_that_show_it():
    # Half of the box's columns, in 2 of the 4 frames in which it is shown.
    halves = found([(4, 6, slice(40, 80), slice(150, 200))])
    (one,) = judge(halves, [{**LOGO, "start": 0.2, "end": 0.6}])["overlays"]
    assert one["share"] == pytest.approx(0.25) and one["verdict"] == "clean"
    (one,) = judge(halves, [{**LOGO, "start": 0.4, "end": 0.6}])["overlays"]
    assert one["share"] == pytest.approx(0.5)
    # The same at half the size: boxes are in pixels of 640×360.
    small = found([(4, 6, slice(20, 40), slice(75, 100))], kept=(0, 0, 180, 320), size=(180, 320))
    (one,) = judge(small, [{**LOGO, "start": 0.4, "end": 0.6}])["overlays"]
    assert one["share"] == pytest.approx(0.5)


def test_a_mask_that_stays_behind_a_moving_box_loses_it_and_is_false():
    follows = {**LOGO, "boxes": [[0.0, [100, 40, 200, 80]], [0.9, [280, 40, 380, 80]]]}
    del follows["box"]
    stays = judge(found([(0, 10, slice(40, 80), slice(100, 200))]), [follows])
    # The box moves by 20 pixels a frame, so shares are 1, .8, .6, .4, .2, 0, …
    assert stays["overlays"][0]["share"] == pytest.approx(0.3)
    # Beside the box and 6 pixels around it: 0, 14, 34, 54, 74, 94 columns of 40 rows, then all 100.
    assert stays["over"] == pytest.approx(40 * (14 + 34 + 54 + 74 + 94 + 4 * 100) / (10 * 360 * 640))
    assert stays["peak"] == [6, pytest.approx(40 * 100 / (360 * 640))]


def test_what_is_cropped_away_is_gone_but_no_false_mask():
    # The upper 60 rows are cut off: half of the logo, and a mask that lies there.
    cut = found([(0, 10, slice(0, 60), slice(400, 500))], kept=(60, 0, 300, 640))
    judged = judge(cut, [LOGO])
    assert judged["overlays"][0]["share"] == pytest.approx(0.5) and judged["over"] == 0
    # All of it, but for the 26 rows and 112 columns of the box, grown by 6 pixels, that lie in it.
    assert judged["cropped"] == pytest.approx((60 * 640 - 26 * 112) / (360 * 640))
    bar = {"kind": "bar", "ignore": True, "box": [0, 0, 640, 60], "start": None, "end": None}
    assert judge(cut, [bar])["cropped"] == 0 and judge(cut, [bar])["overlays"] == []


def test_an_overlay_has_the_verdict_that_misleads_most_of_the_shots_that_show_it():
    shots = [(0, 4, "masked", ""), (4, 7, "uncertain", ""), (7, 10, "clean", "")]
    said = [judge(found([], shots), [{**LOGO, "end": end}])["overlays"][0]["verdict"] for end in (0.4, 0.7, None)]
    assert said == ["masked", "uncertain", "clean"]


def test_the_figures_of_many_clips():
    whole = found([(0, 10, slice(40, 80), slice(100, 200))], [(0, 10, "masked", "")])
    wrong = found([(0, 10, slice(100, 130), slice(100, 200))], [(0, 10, "masked", "")])
    results = [judge(whole, [LOGO]), judge(found([]), [LOGO]), judge(found([]), []), judge(wrong, []), {"error": "cut"}]
    figures = summary(results)
    assert (figures["masked"]["count"], figures["masked"]["of"]) == (1, 2)
    assert figures["missed in clean"]["count"] == 1 and figures["missed in masked"]["count"] == 0
    assert figures["clean clips with a false mask"]["count"] == 1 and figures["clips that failed"] == 1
    assert figures["over-mask of clean clips"]["mean"] == pytest.approx(3000 / (2 * 360 * 640))
    # Wilson's interval for 1 of 2: its centre is one half, its half width z sqrt(1/8 + z²/16) / (1 + z²/2), z = 1.96.
    half = 1.959964 * np.sqrt(1 / 8 + 1.959964**2 / 16) / (1 + 1.959964**2 / 2)
    assert figures["masked"]["from"] == pytest.approx(0.5 - half, abs=1e-6)
