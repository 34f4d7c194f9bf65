import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from vidboot.data.datasets import to_tensor
from vidboot.data.manifest import load_manifest
from vidboot.data.video import iter_frames, read_frames, write_video
from vidboot.errors import UserError
from vidboot.generation import inputs
from vidboot.generation.inputs import InputFiles


@pytest.fixture
def videos(tmp_path):
    """Paths and frames of a video of 8×16 pixels and of its low-resolution version, both lossless."""
    frames = np.random.default_rng(0).integers(0, 256, (40, 8, 16, 3), np.uint8)
    found = {"init": frames[:15], "low_res": frames[:, ::2, ::2]}
    for name, values in found.items():
        write_video(tmp_path / f"{name}.mp4", values, 24, lossless=True)
    return {name: (tmp_path / f"{name}.mp4", values) for name, values in found.items()}


def test_a_stream_reads_no_frame_twice_to_count_it(videos, monkeypatch):
    decoded, read = itertools.count(), []

    def counted(path):
        for frame in iter_frames(path):
            next(decoded)
            yield frame

    def listed(path, numbers):
        read.append((path, list(numbers)))
        return read_frames(path, numbers)

    monkeypatch.setattr(inputs, "iter_frames", counted)
    monkeypatch.setattr(inputs, "read_frames", listed)
    (init, first), (low_res, _) = videos["init"], videos["low_res"]
    known = InputFiles(8, 16, init, low_res)
    assert known.check() == 40
    for start in range(0, 50, 5):
        here = known.frames(start, start + 5)
        if start < 15:
            assert np.array_equal(here.values[0], to_tensor(first[start : start + 5]))
    assert next(decoded) <= 15 + 40 + 2  # each counted once, and the first frame looked at
    assert read == [
        (path, list(range(start, start + 5)))
        for start in range(0, 40, 5)
        for path, length in ((init, 15), (low_res, 40))
        if start < length
    ]


def test_the_manifest_is_read_once(manifest_dir, monkeypatch):
    calls = []
    monkeypatch.setattr(inputs, "load_manifest", lambda folder: calls.append(folder) or load_manifest(folder))
    shot = next(shot for shot in load_manifest(manifest_dir) if shot.mask_path is not None)
    known = InputFiles(8, 16, repair=manifest_dir / shot.path)
    known.check()
    assert known.fps() == shot.fps
    frames = np.concatenate([known.frames(start, start + 4).values[0] for start in (0, 4)], axis=1)
    # Under the mask nothing is known.
    observed = np.broadcast_to(shot.mask()[:8], frames.shape)
    assert observed.any()
    assert np.array_equal(frames[observed], to_tensor(shot.frames(range(8))).numpy()[observed])
    assert len(calls) == 1


def test_a_frame_rate_that_is_but_a_clock_is_measured(tmp_path):
    """Frames 40 ms apart in a file that declares 1000 a second, as recorders of browsers write."""
    path = tmp_path / "recorded.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((8, 8, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 40 * number, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert InputFiles(8, 8, path).fps() == pytest.approx(25, rel=0.01)


def test_there_is_nothing_to_repair_where_nothing_is_masked(manifest_dir):
    shot = next(shot for shot in load_manifest(manifest_dir) if shot.mask_path is None)
    with pytest.raises(UserError, match=f"masked nothing in it .verdict: {shot.verdict}."):
        InputFiles(8, 16, repair=manifest_dir / shot.path).check()


@pytest.mark.parametrize("name", ["init", "low_res"])
def test_a_video_without_frames_is_one_clear_line(tmp_path, name):
    path = tmp_path / "empty.mp4"
    with av.open(str(path), "w", options={"movflags": "+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "yuv420p"
        container.start_encoding()
    with pytest.raises(UserError, match="no frames"):
        InputFiles(8, 8, **{name: path}).check()


def test_a_hash_tells_what_a_file_holds(videos):
    init, frames = videos["init"]
    before = InputFiles(8, 16, init).hashes()
    assert before["low_res_hash"] is None
    assert InputFiles(8, 16, init).hashes() == before
    write_video(init, frames[::-1], 24, lossless=True)
    assert InputFiles(8, 16, init).hashes()["init_hash"] != before["init_hash"]


def test_a_still_gif_has_no_frame_rate_and_a_moving_one_has_its_own(tmp_path):
    pictures = [Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)) for number in range(5)]
    pictures[0].save(tmp_path / "still.gif")
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=100, loop=0)
    assert InputFiles(8, 8, tmp_path / "still.gif").fps() is None
    assert InputFiles(8, 8, tmp_path / "moving.gif").fps() == pytest.approx(10)
