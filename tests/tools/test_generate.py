"""The generating command, as a command; read back with PyAV."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vidboot.streaming import StreamState

FOOTAGE = Path(__file__).parent.parent / "data" / "big_buck_bunny_trailer.mp4"


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, float(stream.average_rate), stream.codec_context.name


def test_a_video_longer_than_the_training_length(trained_run, tmp_path, tool):
    output = tmp_path / "new" / "long.mp4"
    done = tool("generate", "--run", trained_run, "--frames", 31, "--steps", 2, "--seed", 5, "--output", output)
    assert done.returncode == 0, done.stderr
    frames, fps, codec = read(output)
    assert frames.shape == (31, 8, 16, 3)
    assert (fps, codec) == (24.0, "h264")
    assert np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3)).min() > 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert (record["frames"], record["seed"], record["steps"], record["fps"]) == (31, 5, 2, 24.0)
    # What the record says makes the same video again.
    again = tmp_path / "again.mp4"
    command = record["command"].replace(str(output), str(again)).split()
    assert tool("generate", *command[2:]).returncode == 0
    assert np.array_equal(read(again)[0], frames)


def test_another_seed_is_another_video(trained_run, tmp_path, tool):
    for seed in (0, 1):
        tool(
            "generate",
            "--run",
            trained_run,
            "--frames",
            3,
            "--steps",
            1,
            "--seed",
            seed,
            "--output",
            tmp_path / f"{seed}.mp4",
        )
    assert not np.array_equal(read(tmp_path / "0.mp4")[0], read(tmp_path / "1.mp4")[0])


def test_a_stream_that_was_stopped_goes_on_and_ends_the_same(trained_run, main_of, tmp_path, monkeypatch):
    """Stopped after a chunk was written, before its state was: the worst moment."""
    arguments = ["--run", trained_run, "--frames", 40, "--steps", 1, "--iterations", 1, "--stream", "--output"]
    assert main_of("generate", *arguments, tmp_path / "whole.npy") == 0
    save = StreamState.save

    def stop_at_the_third(state, path, identity):
        if state.chunks == 3:
            raise KeyboardInterrupt
        save(state, path, identity)

    monkeypatch.setattr(StreamState, "save", stop_at_the_third)
    assert main_of("generate", *arguments, tmp_path / "stopped.npy") == 130
    assert not (tmp_path / "stopped.npy").exists()
    monkeypatch.setattr(StreamState, "save", save)
    assert main_of("generate", *arguments, tmp_path / "stopped.npy") == 0
    whole = np.load(tmp_path / "whole.npy")
    assert whole.shape == (3, 40, 8, 16)
    assert np.array_equal(np.load(tmp_path / "stopped.npy"), whole)


def test_given_first_frames_come_back_and_several_samples_are_a_grid(trained_run, main_of, tmp_path):
    first = np.full((8, 16, 3), 200, np.uint8)
    Image.fromarray(first).save(tmp_path / "first.png")
    output = tmp_path / "frames"
    options = ["--frames", 5, "--steps", 1, "--samples", 2, "--init", tmp_path / "first.png", "--output", output]
    assert main_of("generate", "--run", trained_run, *options) == 0
    frames = [np.asarray(Image.open(path)) for path in sorted(output.iterdir())]
    assert (len(frames), frames[0].shape) == (5, (8, 34, 3))
    assert (frames[0][:, :16] == 200).all()
    assert (frames[0][:, 18:] == 200).all()
    assert not np.array_equal(frames[3][:, :16], frames[3][:, 18:])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run", "/nowhere", "--frames", "4", "--output", "x.mp4"], "is not a run folder"),
        (["--run", "RUN", "--frames", "0", "--output", "x.mp4"], "at least 1"),
        (["--run", "RUN", "--frames", "4", "--output", "x.avi"], "must end in .mp4"),
        (["--run", "RUN", "--frames", "4", "--output", "/proc/nowhere/x.mp4"], "can't write to"),
        (["--run", "RUN", "--output", "x.mp4"], "give --frames"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--init", str(FOOTAGE)], "the run makes 8×16"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--low-res", str(FOOTAGE)], "one whole number"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--repair", str(FOOTAGE)], "not a shot of"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--class", "cat"], "has no class 'cat'"),
    ],
)
def test_mistakes_are_one_clear_message(trained_run, tool, arguments, says):
    done = tool("generate", *[str(trained_run) if a == "RUN" else a for a in arguments])
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
