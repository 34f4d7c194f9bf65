from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from footage import oriented
from hypothesis import given, settings
from hypothesis import strategies as st

from vidboot.data import random_access
from vidboot.data.random_access import _imported as imported
from vidboot.data.random_access import read_at
from vidboot.data.video import VideoError, VideoWriter, iter_frames, read_frames, write_video

TRAILER = Path(__file__).parents[2] / "data" / "big_buck_bunny_trailer.mp4"


def opencv_frames(path, numbers):
    """Frames read by OpenCV, independently of the code under test."""
    capture = cv2.VideoCapture(str(path))
    found = {}
    for number in range(max(numbers) + 1):
        good, image = capture.read()
        assert good
        if number in numbers:
            found[number] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.stack([found[n] for n in numbers])


@pytest.fixture(params=["torchcodec.decoders", "decord", None])
def reader(request, monkeypatch) -> str | None:
    """Only one of the readers is installed, or none."""
    found = imported(request.param) if request.param else None
    if request.param and found is None:
        pytest.skip(f"{request.param} can't be imported here")
    monkeypatch.setattr(random_access, "_imported", lambda name: found if name == request.param else None)
    random_access._reader.cache_clear()
    yield request.param
    random_access._reader.cache_clear()


def test_random_access_gives_the_frames_that_opencv_gives(reader):
    assert (read_at(TRAILER, [0]) is None) == (reader is None)
    numbers = [130, 60, 61, 60]
    ours = read_frames(TRAILER, numbers)
    assert ours.dtype == np.uint8 and ours.shape == (4, 180, 320, 3)
    # Colour conversions round differently.
    assert np.abs(ours.astype(int) - opencv_frames(TRAILER, numbers)).max() <= 4


def test_streaming_agrees_with_random_access(reader):
    streamed = [frame for _, frame in zip(range(40), iter_frames(TRAILER), strict=False)]
    assert np.array_equal(np.stack(streamed), read_frames(TRAILER, range(40)))


def test_untagged_hd_has_the_same_colours_at_random_and_in_order(tmp_path, reader):
    path = tmp_path / "hd.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 720, 1280, "yuv420p"
        for _ in range(3):
            picture = np.full((720, 1280, 3), (30, 200, 60), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    assert np.array_equal(read_frames(path, [1])[0], list(iter_frames(path))[1])


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 41), st.integers(2, 41), st.integers(1, 6))
def test_lossless_video_comes_back_exactly_at_any_size(tmp_path_factory, height, width, num_frames):
    path = tmp_path_factory.mktemp("v") / "x.mp4"
    frames = np.random.default_rng(height * width).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    write_video(path, frames, 24, lossless=True)
    assert np.array_equal(read_frames(path), frames)
    assert np.array_equal(read_frames(path, range(num_frames)), frames)


@pytest.mark.parametrize("size", [(36, 64), (35, 64), (36, 63), (35, 63)])
def test_lossy_video_keeps_size_number_and_rate(tmp_path, size):
    ramp = np.linspace(0, 200, size[0] * size[1]).reshape(*size, 1).repeat(3, axis=2)
    frames = np.stack([ramp + t for t in range(12)]).astype(np.uint8)
    write_video(tmp_path / "x.mp4", frames, 12.5)
    with av.open(str(tmp_path / "x.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.height, stream.width, float(stream.average_rate)) == (12, *size, 12.5)
    assert np.abs(read_frames(tmp_path / "x.mp4").astype(int) - frames).mean() < 4


def test_key_frames_are_as_close_as_asked(tmp_path):
    write_video(tmp_path / "x.mp4", read_frames(TRAILER, range(60, 84)), 24, gop=8)
    with av.open(str(tmp_path / "x.mp4")) as container:
        keys = [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert set(range(0, 24, 8)) <= set(keys)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    write_video(tmp_path / "x.mp4", frames, 24)
    before = (tmp_path / "x.mp4").read_bytes()
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "x.mp4", 24) as writer:
        writer.write(frames[0])
        raise KeyboardInterrupt
    assert (tmp_path / "x.mp4").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]


def test_resizing_averages_areas(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "x.mp4", frames, 24, lossless=True)
    expected = frames.reshape(2, 6, 4, 8, 4, 3).mean(axis=(2, 4))
    assert np.abs(read_frames(tmp_path / "x.mp4", height=6, width=8) - expected).max() <= 0.5 + 1e-6


def test_no_frames_asked_for_gives_none():
    assert read_frames(TRAILER, []).shape == (0, 180, 320, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"only words, no pictures\n" * 50, "not a video"), (None, "can't be opened")],
)
def test_what_cannot_be_read_is_named_with_its_reason(tmp_path, content, reason):
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (read_frames, lambda p: list(iter_frames(p)), lambda p: read_frames(p, [0])):
        with pytest.raises(VideoError, match=reason) as caught:
            read(path)
        assert caught.value.path == path and str(path) in str(caught.value)


def test_a_frame_past_the_end_is_refused():
    with pytest.raises(VideoError, match="1246 frames, so no frame 1246"):
        read_frames(TRAILER, [1246])


def test_rotation_flag_is_obeyed_as_opencv_obeys_it(tmp_path):
    path = tmp_path / "turned.mp4"
    frames = read_frames(TRAILER, range(60, 64))
    write_video(path, frames, 24, lossless=False)
    oriented(path, 0, 1, -1, 0)
    theirs = opencv_frames(path, [2])
    for ours in (read_frames(path, [2]), np.stack(list(iter_frames(path)))[2:3]):
        assert ours.shape == theirs.shape == (1, 320, 180, 3)
        assert np.abs(ours.astype(int) - theirs).mean() < 2


@pytest.mark.parametrize("matrix", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_what_is_to_be_shown_mirrored_is_refused(tmp_path, matrix):
    path = tmp_path / "mirrored.mp4"
    write_video(path, read_frames(TRAILER, range(60, 64)), 24)
    oriented(path, *matrix)
    for read in (read_frames, lambda p: next(iter_frames(p)), lambda p: read_frames(p, [2])):
        with pytest.raises(VideoError, match="mirrored"):
            read(path)


def test_the_same_frames_give_the_same_file(tmp_path):
    rng = np.random.default_rng(0)
    small = [cv2.resize(frame, (64, 36), interpolation=cv2.INTER_AREA) for frame in iter_frames(TRAILER)]
    frames = (np.array(small[400:700]) + rng.normal(0, 20, (300, 36, 64, 3))).clip(0, 255).astype(np.uint8)
    files = set()
    for _ in range(8):
        clutter = [rng.bytes(int(n)) for n in rng.integers(1_000, 3_000_000, 10)]  # memory that gets used again
        del clutter
        write_video(tmp_path / "video.mp4", frames, 24)
        files.add((tmp_path / "video.mp4").read_bytes())
    assert len(files) == 1


def test_quick_files_differ_no_more_from_the_film_and_are_not_twice_as_large(tmp_path):
    frames = read_frames(TRAILER, list(range(40)), 72, 128)
    errors, sizes = [], []
    for quick in (False, True):
        path = tmp_path / f"{quick}.mp4"
        write_video(path, frames, 24, crf=10, gop=8, chroma="444", quick=quick)
        errors.append(np.abs(opencv_frames(path, range(40)).astype(int) - frames).mean())
        sizes.append(path.stat().st_size)
    assert errors[1] < 1.1 * errors[0] and sizes[1] < 2 * sizes[0]
