"""The generating command, as a command; read back with PyAV."""

import json

import av
import numpy as np
import pytest


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run", "/nowhere", "--frames", "4", "--output", "x.mp4"], "is not a run folder"),
        (["--run", "RUN", "--frames", "0", "--output", "x.mp4"], "at least 1"),
        (["--run", "RUN", "--frames", "4", "--output", "x.avi"], "must end in .mp4"),
        (["--run", "RUN", "--frames", "4", "--output", "/proc/nowhere/x.mp4"], "can't write to"),
    ],
)
def test_mistakes_are_one_clear_message(trained_run, tool, arguments, says):
    done = tool("generate", *[str(trained_run) if a == "RUN" else a for a in arguments])
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
