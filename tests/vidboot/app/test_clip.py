"""A dropped clip: what is found in it, changed by the user, and painted out."""

import json

import numpy as np
import pytest
from footage import analysed, titled_films

from data_prep.config import MaskSettings, Preprocess
from vidboot.app.clip import Clip, open_clip
from vidboot.app.painting import paint_out
from vidboot.data.video import read_frames
from vidboot.errors import UserError


@pytest.fixture
def blank(tmp_path):
    """A clip of 360×640 pixels in which nothing was found."""
    return Clip(tmp_path / "clip [1].mp4", Preprocess(), analysed(48), ((0, 48, (0, 0, 360, 640)),), ())


def test_two_corners_in_any_order_are_a_box_of_these_frames(blank):
    expected = np.zeros((360, 640), bool)
    expected[20:60, 10:110] = True
    for corners in (((10, 20), (110, 60)), ((110, 20), (10, 60))):
        settings = blank.with_changes([], [blank.box(*corners, 5, 30)])
        assert np.array_equal(blank.masked(5, settings), expected)
        assert np.array_equal(blank.masked(29, settings), expected)
        assert not blank.masked(4, settings).any() and not blank.masked(30, settings).any()


@pytest.mark.parametrize("box", [((5, 5), (5, 9), 0, 9), ((5, 5), (9, 9), 48, 60), ((5, 5), (9, 9), 9, 9)])
def test_a_box_that_covers_nothing_is_refused(blank, box):
    with pytest.raises(UserError, match="the box covers nothing"):
        blank.box(*box)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """48 frames of 180×320; a subtitle in frames 8 to 39, its letters in rows 150 to 168."""
    return titled_films(tmp_path_factory.mktemp("film"), 1)[0]


@pytest.mark.slow
def test_a_subtitle_is_found_and_painted_out(studio, film, tmp_path):
    folder, work = tmp_path / "clip", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    clip = open_clip(film, folder, studio.model.config, studio.request)
    # The trailer has writing of its own, above.
    only = clip.with_changes([n for n, region in enumerate(clip.regions) if region.box[0] > 130], [])
    covered = clip.masked(20, only)
    assert covered[152:164, 100:200].mean() > 0.5 and not covered[:130].any()
    assert not clip.masked(2, only).any()
    drawn, plain = clip.overlay(20, only).astype(int), read_frames(film, [20])[0].astype(int)
    assert (drawn - plain)[..., 0][covered].mean() > 20 > abs((drawn - plain)[:130, :60].mean())
    # Nothing is left of it where its mask is taken away.
    none = clip.with_changes([], [])
    assert not clip.masked(20, none).any()
    with pytest.raises(UserError, match="nothing is masked"):
        list(paint_out(studio, clip, none, work))
    *_, painted = results(paint_out(studio, clip, only, work))
    before, after = read_frames(painted.original).astype(int), read_frames(painted.result).astype(int)
    assert before.shape == after.shape == (48, 8, 8, 3)
    assert np.abs(before - after)[20, 6:].max() > 10  # the letters are in rows 6 and 7 of 8
    # Before the last encoding, everything else is exactly as it was.
    (stored,) = (folder / "shots").rglob("*.mp4")
    change = np.abs(read_frames(stored).astype(int) - read_frames(work / "shot_0.mp4"))
    assert change[20, 6:].max() > 10 and change[:, :6].max() == change[:7].max() == 0
    (record,) = json.loads(painted.record.read_text())
    assert record["frames"] == 48 and record["repair_hash"] and record["draws"] == 8


def results(updates):
    """All updates, then the result."""
    while True:
        try:
            yield next(updates)
        except StopIteration as end:
            yield end.value
            return


@pytest.mark.slow
def test_a_box_of_ones_own_is_painted_out_where_nothing_was_found(studio, film, tmp_path):
    folder, work = tmp_path / "clip", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    clip = open_clip(film, folder, studio.model.config, studio.request)
    # The upper left quarter of the stored square of 180×180 pixels, which begins at column 70.
    box = clip.box((70, 0), (160, 90), 0, 48)
    assert box == MaskSettings(source=box.source, box=[0, 70, 90, 90], end=48)
    *_, painted = results(paint_out(studio, clip, clip.with_changes([], [box]), work))
    change = np.abs(read_frames(painted.original).astype(int) - read_frames(painted.result)).mean((0, 3))
    assert change[:4, :4].min() > 2 * change[5:].max()
