"""Shots of all speeds at one rate: what they show, and when."""

from fractions import Fraction

import av
import numpy as np
import pytest
from footage import moving_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.video.resampling import pack_times, resample, unpack_times
from vidboot.data import load_manifest
from vidboot.data.manifest import load_rows
from vidboot.data.masks import Event, MaskTrack

NTSC = Fraction(30000, 1001)


def clock_film(path, rate, count, times=None):
    """A film in which a bright bar moves by 40 pixels a second, whatever the rate; the rest drifts a little."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "threads": "1", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 72, 128, "yuv420p"
        seconds = [float(number / Fraction(rate)) for number in range(count)] if times is None else times
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        scene = moving_scene(0, 1)[0] // 4
        for moment in seconds:
            image = scene.copy()
            image[:, round(40 * moment) : round(40 * moment) + 8] = 250
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * moment), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def places(frames):
    """Where the bar is in each frame, pixels of the source."""
    columns = np.arange(frames.shape[2])
    bright = frames[..., 0].astype(float).mean(axis=1)
    weights = np.clip(bright - 120, 0, None)
    return (weights @ columns / weights.sum(axis=1) - 3.5) * 128 / frames.shape[2]


def settings_of(**changes):
    views = {"clip_frames": 8, "full_frames": 32}
    return Preprocess(height=72, width=128, workers=1, views=views, text={"detector": "opencv"}, **changes)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for name, rate in {"film": Fraction(24000, 1001), "pal": 25, "ntsc": NTSC, "fifty": 50, "sixty": 60}.items():
        clock_film(folder / f"{name}.mp4", rate, round(2 * rate))
    clock_film(folder / "twelve.mp4", 12, 24)
    # Some frames in two are missing in a phone's film of 30.
    every = np.delete(np.arange(60), [7, 8, 21, 40, 41]) / 30
    clock_film(folder / "phone.mkv", 30, 0, np.round(every, 3).tolist())
    return folder


def test_films_of_all_rates_last_as_long_and_move_as_fast_at_one_rate(films, tmp_path):
    preprocess([films], tmp_path, settings_of(fps=24))
    rows = {row.source.rsplit("/")[-1].split(".")[0]: row for row in load_rows(tmp_path)}
    assert {name: row.timing for name, row in rows.items()} == {
        "film": "near", "pal": "dropped", "ntsc": "dropped", "fifty": "dropped", "sixty": "dropped", "phone": "dropped"
    }  # fmt: skip
    for shot in load_manifest(tmp_path):
        frames = shot.frames()
        assert len(frames) == shot.num_frames
        assert shot.fps == pytest.approx(24, rel=0.0011 if "film.mp4" in shot.source else 1e-9)
        if "phone" not in shot.source:
            assert abs(len(frames) / shot.fps - 2) <= 1 / shot.fps
        moments = np.arange(len(frames)) / shot.fps
        step = 1 / 25 if "phone" not in shot.source else 1 / 12
        # Each shown moment is right to the source's frame before or after it.
        assert np.abs(places(frames) - 40 * moments).max() <= 40 * step / 2 + 1 + (3 if "phone" in shot.source else 0)


def test_slower_films_are_refused_or_kept_by_the_named_rule(films, tmp_path):
    outcome = preprocess([films / "twelve.mp4", films / "sixty.mp4"], tmp_path / "a", settings_of(fps=24))
    assert [item.reason for item in outcome.set_aside] == ["has 12 frames a second, fewer than fps=24 asks for"]
    preprocess([films / "twelve.mp4"], tmp_path / "b", settings_of(fps=24, slower="keep"))
    (row,) = load_rows(tmp_path / "b")
    assert (row.fps, row.num_frames, row.timing) == (12, 24, "slower")


def test_without_a_wanted_rate_every_frame_is_kept(films, tmp_path):
    preprocess([films / "sixty.mp4", films / "twelve.mp4"], tmp_path, settings_of())
    found = {(row.fps, row.num_frames, row.timing) for row in load_rows(tmp_path)}
    assert found == {(60, 120, "own"), (12, 24, "own")}


def test_a_shot_that_is_too_short_once_frames_are_left_out_supplies_no_clip(films, tmp_path):
    limits = {"clip_frames": 60, "full_frames": 60}
    changed = settings_of(fps=24).model_copy(update={"views": settings_of().views.model_copy(update=limits)})
    with pytest.raises(Exception, match="too short"):
        preprocess([films / "sixty.mp4"], tmp_path, changed)


def test_a_mask_follows_the_frames_that_are_kept():
    covered = np.eye(4, dtype=bool)
    track = MaskTrack(10, 4, 4, [Event(2, 5, covered), Event(5, 6, ~covered), Event(0, 10, covered)])
    kept = [0, 3, 4, 6, 9]
    assert np.array_equal(track.of_frames(kept).frames(), track.frames(kept))


@settings(deadline=None, max_examples=60)
@given(st.floats(12.5, 240), st.integers(1, 300), st.sampled_from([12.0, 24.0, NTSC]), st.floats(0, 0.4))
def test_moments_are_as_near_as_the_source_has_them(own, count, wanted, jitter):
    wanted = float(wanted)
    noise = np.random.default_rng(count).uniform(-jitter, jitter, count)
    times = (np.arange(count) + noise) / own
    found = resample(times.tolist(), own, wanted)
    if found.timing != "dropped":
        assert np.array_equal(found.kept, np.arange(count))
        assert jitter or own <= 1.0101 * wanted
        return
    shown = times[found.kept] - times[0]
    grid = np.arange(len(shown)) / wanted
    # Never further than half of the longest step of the source, and no frame twice.
    assert np.all(np.diff(found.kept) > 0)
    if jitter == 0:
        assert np.abs(shown - grid).max() <= 0.51 / own
        assert abs(len(shown) - max(1, count * wanted / own)) <= 0.51


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e4, 1e5), max_size=50))
def test_packed_times_are_right_to_a_microsecond(times):
    assert unpack_times(pack_times(times)) == pytest.approx(times, abs=1e-6)


def test_regular_times_take_little_room():
    assert len(pack_times(np.arange(200_000) / 24)) < 200_000
