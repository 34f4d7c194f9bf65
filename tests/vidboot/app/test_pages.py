"""What the pages' buttons call, without a browser."""

import threading

import numpy as np
import pytest
from footage import analysed, moving_scene, write

from data_prep.config import Preprocess
from data_prep.video.decode import probe
from vidboot.app.clip import Clip

gr = pytest.importorskip("gradio", reason="no Gradio here: pip install -e '.[app]'")

from vidboot.app.generate_page import ANY_CLASS, _handler  # noqa: E402
from vidboot.app.paint_page import Editing, add_corner, draw, forget  # noqa: E402


def test_nothing_is_left_of_a_request_neither_files_nor_threads(studio):
    threads = []
    for seed in range(3):
        for values in _handler(studio)(2, seed, ANY_CLASS, None, None, True):
            said, video, files = values
        assert said == "Done." and video == files[0] and files[1].endswith(".json")
        assert list(studio.folder.iterdir()) == []
        threads.append(threading.active_count())
    assert threads[1:] == threads[:1] * 2  # the first request starts the thread of tqdm's bars


def test_a_page_that_is_closed_ends_the_sampling(studio):
    updates = _handler(studio)(12, 0, ANY_CLASS, None, None, True)
    assert [next(updates)[0], next(updates)[0]] == ["Begins.", "1 of 18 steps"]
    threads = threading.active_count()
    updates.close()
    assert threading.active_count() == threads - 1
    assert list(studio.folder.iterdir()) == []


@pytest.mark.parametrize(("length", "says"), [(None, "give a whole number for the length"), (0, "the length is 1 to")])
def test_a_mistake_is_said_on_the_page(studio, length, says):
    with pytest.raises(gr.Error, match=says):
        list(_handler(studio)(length, 0, ANY_CLASS, None, None, True))
    assert list(studio.folder.iterdir()) == []


@pytest.fixture
def editing(tmp_path):
    """A clip of 12 frames of 72×128 pixels in which nothing was found."""
    path = write(tmp_path / "work" / "clip.mp4", moving_scene(1, 12))
    found = analysed(12, probe=probe(path), size=(72, 128), picture=(0, 0, 72, 128))
    return Editing(Clip(path, Preprocess(), found, ((0, 12, (0, 0, 72, 128)),), ()))


def click(editing, x, y, last=5):
    where = gr.SelectData(None, {"index": [x, y], "value": None})
    ((editing, said, picture, ticked),) = add_corner(editing, 3, [], 0, last, where)
    return editing, said, picture, ticked


def test_two_clicks_add_a_box_that_can_be_unticked(editing):
    once, *_ = click(editing, 90, 50)
    twice, _, picture, ticked = click(once, 30, 10)
    assert ticked["value"] == ["b0"] and ticked["choices"] == [("your box 1", "b0")]
    expected = np.zeros((72, 128), bool)
    expected[10:50, 30:90] = True
    assert np.array_equal(twice.clip.masked(3, twice.settings(["b0"])), expected)
    assert not twice.clip.masked(3, twice.settings([])).any()
    (plain,) = draw(twice, 3, [])
    changed = (picture != plain).any(-1)
    assert changed[expected].all() and not changed[~expected].any()


def test_a_box_that_covers_nothing_is_said_and_the_next_click_begins_anew(editing):
    once, *_ = click(editing, 90, 50)
    again, said, *_ = click(once, 90, 10)
    assert "covers nothing" in said and again.corner is None and again.boxes == ()


def test_a_clip_that_is_forgotten_is_deleted(editing):
    forget(editing)
    assert not editing.clip.path.parent.exists()
    forget(None)
