import os
import resource
import signal
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from vidboot.data.datasets import to_frames
from vidboot.data.video import read_frames
from vidboot.errors import UserError
from vidboot.generation.writers import check_fps, check_path, grid, open_output

ENDINGS = [".mp4", ".gif", ".npy", ""]

NUM_FRAMES = 150


@pytest.fixture
def video():
    """Slowly moving waves, C T H W."""
    t, h, w = torch.meshgrid(torch.arange(NUM_FRAMES), torch.arange(16), torch.arange(32), indexing="ij")
    return torch.stack([torch.sin(t / 9 + h / 5), torch.sin(t / 11 + w / 7), torch.cos(t / 13 + w / 9)])


def write(video, path, work, stop_at=None, **options):
    """Write in two parts, as if by two processes if `stop_at` is given."""
    output = open_output(path, work, video.shape[1], 24.0, **options)
    output.append(video[:, : stop_at or 70])
    if stop_at:
        output.append(video[:, stop_at : stop_at + 10])  # written, but not in the saved state
        output = open_output(path, work, video.shape[1], 24.0, done=stop_at, **options)
    output.append(video[:, stop_at or 70 :])
    assert not path.exists()
    output.finish()


def read(path):
    """All frames of any output, 8 bits each."""
    if path.suffix == ".mp4":
        return read_frames(path)
    if path.suffix == ".npy":
        return to_frames(torch.from_numpy(np.load(path)))
    if not path.suffix:
        return np.stack([np.asarray(Image.open(name)) for name in sorted(path.iterdir())])
    with Image.open(path) as gif:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)])


@pytest.mark.parametrize("stop_at", [None, 100])
def test_lossless_mp4_keeps_every_value(video, tmp_path, stop_at):
    write(video, tmp_path / "v.mp4", tmp_path / "work", stop_at, lossless=True)
    assert np.array_equal(read_frames(tmp_path / "v.mp4"), to_frames(video))


@pytest.mark.parametrize("stop_at", [None, 100])
def test_mp4_has_all_frames_in_order_at_the_right_times(video, tmp_path, stop_at):
    write(video, tmp_path / "v.mp4", tmp_path / "work", stop_at)
    frames = read_frames(tmp_path / "v.mp4")
    assert frames.shape == (NUM_FRAMES, 16, 32, 3)
    assert np.abs(frames.astype(int) - to_frames(video)).mean() < 6
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
        assert float(stream.average_rate) == 24
    np.testing.assert_allclose(np.diff(times), 1 / 24, atol=1e-4)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("lengths", [[9, 1, 9], [64, 2, 58], [2, 9], [65], [1]])
def test_pieces_of_any_length_make_one_mp4(video, tmp_path, lengths, lossless):
    output = open_output(tmp_path / "v.mp4", tmp_path / "work", sum(lengths), 24.0, lossless)
    for part in video.split([*lengths, NUM_FRAMES - sum(lengths)], dim=1)[:-1]:
        output.append(part)
    output.finish()
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 24
        frames = [(float(f.pts * stream.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
    assert [time for time, _ in frames] == pytest.approx([t / 24 for t in range(sum(lengths))])
    errors = np.abs(np.stack([frame for _, frame in frames]).astype(int) - to_frames(video)[: sum(lengths)])
    assert errors.mean() < (1e-9 if lossless else 6)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_a_kill_left_behind_does_no_harm(video, tmp_path, ending):
    """Partial files of a killed writer, and first frames of a longer stream whose state is gone."""
    path, work = tmp_path / f"v{ending}", tmp_path / "work"
    open_output(path, work, 40, 24.0).append(video[:, :40].flip(1))
    for torn in (work / ".partial-7-000000003.mp4", work / "frames" / ".partial-7-000000003.png"):
        torn.parent.mkdir(exist_ok=True)
        torn.write_bytes(b"torn")
    output = open_output(path, work, 20, 24.0)
    for part in video[:, :20].split(9, dim=1):
        output.append(part)
    output.finish()
    frames = read(path)
    assert frames.shape[0] == 20
    assert np.abs(frames.astype(int) - to_frames(video[:, :20])).mean() < 12


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_finish_that_was_killed_is_repeated(video, tmp_path, ending):
    path, work = tmp_path / f"v{ending}", tmp_path / "work"
    output = open_output(path, work, 20, 24.0)
    output.append(video[:, :14])
    output.append(video[:, 14:20])
    output.finish()
    before = read(path)
    open_output(path, work, 20, 24.0, done=20).finish()
    assert len(before) == 20
    assert np.array_equal(read(path), before)


@pytest.mark.parametrize("ending", ENDINGS)
def test_frames_that_are_gone_are_missed(video, tmp_path, ending):
    path, work = tmp_path / f"v{ending}", tmp_path / "work"
    open_output(path, work, 40, 24.0).append(video[:, :20])
    for file in [*work.rglob("*.mp4"), *work.rglob("*.npy"), *work.rglob("000000000.png")]:
        file.unlink()
    with pytest.raises(UserError, match="start again"):
        open_output(path, work, 40, 24.0, done=20)


@pytest.mark.parametrize("stop_at", [None, 100])
def test_npy_is_the_float_video(video, tmp_path, stop_at):
    write(video, tmp_path / "v.npy", tmp_path / "work", stop_at)
    assert np.array_equal(np.load(tmp_path / "v.npy"), video.numpy())


@pytest.mark.parametrize("stop_at", [None, 100])
def test_png_frames(video, tmp_path, stop_at):
    write(video, tmp_path / "frames", tmp_path / "work", stop_at)
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{t:09d}.png" for t in range(NUM_FRAMES)]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "frames" / names[120])), to_frames(video)[120])
    (tmp_path / "work").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="not empty"):
        open_output(tmp_path / "frames", tmp_path / "work", 3, 24.0)


def test_gif(video, tmp_path):
    write(video, tmp_path / "v.gif", tmp_path / "work")
    with Image.open(tmp_path / "v.gif") as gif:
        assert gif.n_frames == NUM_FRAMES
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
        assert sum(durations[:48]) == 2000  # of 24 fps; a GIF's times are multiples of 10 ms
        assert set(durations) == {40, 50}
        gif.seek(120)
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - to_frames(video)[120]).mean() < 12


@pytest.mark.parametrize(
    ("name", "fps"),
    [("v.gif", 51), ("v.gif", 0.001), ("v.mp4", 1001), ("v.mp4", 0), ("v.mp4", float("inf")), ("v.npy", float("nan"))],
)
def test_frame_rates_that_no_player_shows_are_refused(tmp_path, name, fps):
    with pytest.raises(UserError, match="frames per second"):
        check_fps(tmp_path / name, fps)
    check_fps(tmp_path / name, 50)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in .mp4, .gif or .npy"):
        open_output(tmp_path / "v.avi", tmp_path, 3, 24.0)


def test_a_grid_shows_each_sample_in_its_place():
    videos = torch.arange(1, 6.0)[:, None, None, None, None].expand(5, 3, 2, 4, 6) / 5
    whole = grid(videos)
    assert whole.shape == (3, 2, 2 * 4 + 2, 3 * 6 + 4)
    corners = [whole[0, 0, y, x].item() for y in (0, 6) for x in (0, 8, 16)]
    assert corners == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, -1.0])
    assert torch.equal(grid(videos[:1]), videos[0])


def test_an_array_has_its_space_before_its_first_frame(video, tmp_path):
    channels, count, height, width = video.shape
    output = open_output(tmp_path / "v.npy", tmp_path / "work", count, 24.0, size=(channels, height, width))
    kept = (tmp_path / "work" / "video.npy").stat()
    assert kept.st_size >= 4 * video.numel() and 512 * kept.st_blocks >= kept.st_size
    output.append(video)
    output.finish()
    assert np.array_equal(np.load(tmp_path / "v.npy"), video.numpy())


def test_an_array_that_the_disk_has_no_room_for_is_refused_before_its_first_frame(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            open_output(tmp_path / "v.npy", tmp_path / "work", 1000, 24.0, size=(3, 64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


def test_a_device_is_no_output(tmp_path):
    # Like /dev/null, which must not be tried here: without the check, a folder or file would take its place.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is no file or folder, but a device"):
        check_path(tmp_path / "pipe")
    with pytest.raises(UserError, match="is no file or folder, but a device"):
        check_path(Path("/dev/null"))
