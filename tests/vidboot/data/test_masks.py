import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidboot.data.masks import Event, MaskTrack
from vidboot.errors import UserError


@st.composite
def tracks(draw):
    frames, height, width = draw(st.integers(1, 9)), draw(st.integers(1, 11)), draw(st.integers(1, 11))
    events = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, frames - 1))
        end = draw(st.integers(start + 1, frames))
        seed = draw(st.integers(0, 3))
        events.append(Event(start, end, np.random.default_rng(seed).random((height, width)) < 0.3))
    return MaskTrack(frames, height, width, events)


def brute_force(track):
    mask = np.ones((track.num_frames, track.height, track.width), bool)
    for t in range(track.num_frames):
        for event in track.events:
            if event.start <= t < event.end:
                mask[t] &= ~event.covered
    return mask


@given(tracks())
def test_a_saved_track_gives_every_frame_back(tmp_path_factory, track):
    path = tmp_path_factory.mktemp("m") / "m.npz"
    track.save(path)
    loaded = MaskTrack.load(path)
    assert np.array_equal(loaded.frames(), brute_force(track))
    last = track.num_frames - 1
    assert np.array_equal(loaded.frames([last, 0]), brute_force(track)[[last, 0]])
    once = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == once


def test_a_shape_is_stored_once_however_often_it_is_shown(tmp_path):
    logo = np.random.default_rng(0).random((128, 128)) < 0.5
    MaskTrack(10_000, 128, 128, [Event(0, 10_000, logo)]).save(tmp_path / "one.npz")
    often = [Event(10 * k, 10 * k + 5, logo) for k in range(100)]
    MaskTrack(10_000, 128, 128, often).save(tmp_path / "often.npz")
    raw = 128 * 128 / 8
    assert (tmp_path / "one.npz").stat().st_size < 2 * raw
    assert (tmp_path / "often.npz").stat().st_size < 2 * raw


def test_no_event_means_all_clean(tmp_path):
    MaskTrack(3, 4, 5).save(tmp_path / "m.npz")
    mask = MaskTrack.load(tmp_path / "m.npz").frames()
    assert mask.shape == (3, 4, 5) and mask.all()


@pytest.mark.parametrize("event", [Event(0, 4, np.ones((2, 2), bool)), Event(0, 1, np.ones((2, 3), bool))])
def test_an_event_that_does_not_fit_is_refused(event):
    with pytest.raises(ValueError, match="does not fit"):
        MaskTrack(3, 2, 2, [event])


def test_a_damaged_file_is_a_users_error(tmp_path):
    MaskTrack(3, 4, 5).save(tmp_path / "m.npz")
    (tmp_path / "m.npz").write_bytes((tmp_path / "m.npz").read_bytes()[:100])
    with pytest.raises(UserError, match="run preprocess again"):
        MaskTrack.load(tmp_path / "m.npz")
    with pytest.raises(UserError, match="run preprocess again"):
        MaskTrack.load(tmp_path / "none.npz")
