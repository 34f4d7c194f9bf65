from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import analysed, probed

from data_prep.analysis_types import Overlay, Text, pack
from data_prep.config import MaskSettings, Preprocess
from data_prep.masking import Coverage
from data_prep.report import regions
from data_prep.report.regions import masked_regions, source_box

FILM = Path("/films/a.mp4")
WHOLE = [(0, 100, (0, 0, 360, 640))]


def text(start, end, box, probability=None):
    top, left, bottom, right = box
    bits = pack(np.ones((bottom - top, right - left), bool))
    return Text(start, end, box, bits, sure=True, probability=probability, why="letters")


def overlay(start, end, *boxes, probability=None, why="edges"):
    area = np.zeros((360, 640), bool)
    for top, left, bottom, right in boxes:
        area[top:bottom, left:right] = True
    return Overlay(start, end, pack(area), 0.5, probability=probability, why=why)


def found(analysis, pooled=None, masks=(), shots=WHOLE):
    return masked_regions(analysis, pooled, FILM, Preprocess(masks=list(masks)), shots)


def test_parts_that_are_apart_are_regions_of_their_own_and_letters_that_are_close_are_one():
    # Two letters 8 pixels apart, and a sign 300 pixels away.
    film = analysed(100, overlays=(overlay(0, 100, (20, 500, 40, 512), (20, 520, 40, 532), (200, 100, 240, 180)),))
    assert [one.box for one in found(film).shown] == [(20, 500, 40, 532), (200, 100, 240, 180)]
    assert all((one.kind, one.start, one.end) == ("overlay", 0, 100) for one in found(film).shown)
    (letters, _) = found(film).shown
    assert letters.area.sum() == 2 * 20 * 12


def test_a_logo_that_each_shot_shows_is_one_region_and_subtitles_at_one_place_are_many():
    logo = 20, 500, 60, 560
    film = analysed(
        100,
        overlays=(
            overlay(0, 40, logo, probability=0.6),
            overlay(40, 100, (22, 500, 62, 560), probability=0.8, why="w"),
        ),
        texts=(
            text(0, 20, (300, 200, 320, 400)),
            text(1, 20, (300, 200, 321, 402)),
            text(25, 50, (300, 200, 320, 400)),
        ),
    )
    kept = [(one.kind, one.start, one.end, one.box, one.probability) for one in found(film).shown]
    assert kept == [
        ("text", 0, 20, (300, 200, 321, 402), None),
        ("overlay", 0, 100, (20, 500, 62, 560), 0.8),
        ("text", 25, 50, (300, 200, 320, 400), None),
    ]
    assert [one.why for one in found(film).shown if one.kind == "overlay"] == ["w (50% opaque)"]


def test_what_can_not_be_judged_is_counted():
    film = analysed(
        100,
        overlays=(
            overlay(0, 100, (20, 500, 60, 560), (200, 100, 205, 180)),
            replace(overlay(0, 100, (100, 100, 140, 180)), sure=False),
        ),
        texts=(text(0, 20, (300, 200, 320, 400)), replace(text(0, 20, (100, 200, 120, 400)), sure=False)),
    )
    # Stored are frames 50 to 100, without the picture's right third: the text has ended, the logo is cropped off.
    half = found(film, shots=[(50, 100, (0, 0, 360, 430))])
    assert (half.shown, half.small, half.outside) == ([], 1, 1)
    assert [one.kind for one in found(film).shown] == ["text", "overlay"] and found(film).outside == 0


def test_of_too_many_regions_the_least_certain_are_shown(monkeypatch):
    monkeypatch.setattr(regions, "_MOST", 3)
    chances = [0.99, 0.7, None, 0.4, 0.95]
    texts = tuple(text(20 * k, 20 * k + 10, (300, 200, 320, 400), chance) for k, chance in enumerate(chances))
    shown = found(analysed(100, texts=texts))
    assert [one.probability for one in shown.shown] == [0.7, None, 0.4] and shown.more == 2


def test_ones_own_masks_are_regions_and_what_they_take_away_is_none():
    film = analysed(100, probe=probed(720, 1280), overlays=(overlay(0, 100, (20, 500, 60, 560), (200, 100, 240, 180)),))
    away = MaskSettings(source="a.mp4", box=[40, 1000, 80, 120], remove=True)
    added = MaskSettings(source="*.mp4", box=[10, 20, 30, 40], start=5, end=500)
    other = MaskSettings(source="b.mp4", box=[10, 20, 30, 40])
    shots = [(0, 100, (0, 0, 720, 1280))]
    shown = found(film, masks=[away, added, other], shots=shots).shown
    kept = [(one.kind, one.start, one.end, one.box, one.mask) for one in shown]
    assert kept == [
        ("removed", 0, 100, (20, 500, 60, 560), away),
        ("overlay", 0, 100, (200, 100, 240, 180), None),
        ("own", 5, 100, (5, 10, 20, 30), added),
    ]
    pooled = np.zeros((360, 640), bool)
    pooled[300:320, 20:60] = True
    replacing = MaskSettings(source="a.mp4", box=[10, 20, 30, 40], replace=True)
    assert [one.kind for one in found(film, pooled, [replacing], shots).shown] == ["own"]
    assert len(found(film, pooled, shots=shots).shown) == 3


@pytest.mark.parametrize(
    ("height", "width", "size"), [(45, 2000, (14, 640)), (1080, 1920, (360, 640)), (90, 160, None)]
)
def test_the_box_of_a_region_takes_all_of_it_away_and_no_pixel_beside_it(height, width, size):
    rows, columns = size or (height, width)
    box = 2, 20, 11, 79
    area = np.zeros((rows, columns), bool)
    area[box[0] : box[2], box[1] : box[3]] = True
    everything = Overlay(0, 100, pack(np.ones((rows, columns), bool)), 1.0)
    film = analysed(100, probe=probed(height, width), size=(rows, columns), overlays=(everything,))
    away = MaskSettings(source="a.mp4", box=source_box(box, film), remove=True)
    (span,) = Coverage(film, None, FILM, Preprocess(masks=[away])).of(range(100))
    assert np.array_equal(span[2], ~area)
