import av
import numpy as np
import pytest
import torch
from PIL import Image

from vidboot.data.datasets import to_frames
from vidboot.data.output import grid, open_output
from vidboot.data.video import read_frames
from vidboot.errors import UserError

NUM_FRAMES = 150


@pytest.fixture
def video():
    """Slowly moving waves, C T H W."""
    t, h, w = torch.meshgrid(torch.arange(NUM_FRAMES), torch.arange(16), torch.arange(32), indexing="ij")
    return torch.stack([torch.sin(t / 9 + h / 5), torch.sin(t / 11 + w / 7), torch.cos(t / 13 + w / 9)])


def write(video, path, work, stop_at=None, **options):
    """Write in two parts, as if by two processes if `stop_at` is given."""
    work.mkdir(exist_ok=True)
    output = open_output(path, work, video.shape[1], 24.0, **options)
    output.append(video[:, : stop_at or 70])
    if stop_at:
        output.append(video[:, stop_at : stop_at + 10])  # written, but not in the saved state
        output = open_output(path, work, video.shape[1], 24.0, done=stop_at, **options)
    output.append(video[:, stop_at or 70 :])
    assert not path.exists()
    output.finish()
    assert not [*work.iterdir()]


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
        gif.seek(120)
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - to_frames(video)[120]).mean() < 12


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
