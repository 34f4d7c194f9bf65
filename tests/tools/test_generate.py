"""tools/generate.py run as a command; PyAV reads its videos."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidboot.data import load_manifest
from vidboot.generation.streaming import StreamState

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
    # The recorded command makes the same video again.
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
    """Stopped after a chunk was written but before its state was: the worst moment."""
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


def start(*arguments):
    tool = Path(__file__).parents[2] / "tools" / "generate.py"
    return subprocess.Popen(
        [sys.executable, str(tool), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("ending", [".npy", ".mp4"])
def test_a_stream_that_was_killed_goes_on_and_ends_the_same(trained_run, main_of, tool, tmp_path, ending):
    """SIGKILL at any moment after a chunk; the frames must be those of an uninterrupted run."""
    arguments = [
        "--run",
        trained_run,
        "--frames",
        160,
        "--steps",
        1,
        "--iterations",
        1,
        "--stream",
        "--lossless",
        "--output",
    ]
    whole, killed = tmp_path / f"whole{ending}", tmp_path / f"killed{ending}"
    assert main_of("generate", *arguments, whole) == 0
    process = start(*arguments, killed)
    state = tmp_path / f"killed{ending}.unfinished" / "state.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists()
    with safe_open(state, framework="pt") as stored:
        frames = int(stored.metadata()["frames"])
    assert 0 < frames < 160
    resumed = tool("generate", *arguments, killed)
    assert resumed.returncode == 0, resumed.stderr
    assert f" {frames}/160 " in resumed.stderr, "it went on from the state, not from the start"
    assert " 0/160 " not in resumed.stderr
    assert not state.parent.exists()
    one, other = (np.load(path) if ending == ".npy" else read(path)[0] for path in (whole, killed))
    assert np.abs(np.diff(one.astype(float), axis=1 if ending == ".npy" else 0)).max() > 0
    assert np.array_equal(one, other)


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_an_output_is_made_by_one_process_at_a_time(trained_run, main_of, tmp_path, capfd, more):
    words = ["--run", trained_run, "--frames", 4, "--steps", 1, "--output", tmp_path / "v.mp4", *more]
    with FileLock(tmp_path / ".lock-v.mp4"):
        assert main_of("generate", *words) == 2
    assert f"another process makes {tmp_path / 'v.mp4'}: wait for it" in capfd.readouterr().err
    assert not (tmp_path / "v.mp4").exists()
    assert main_of("generate", *words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.json", "v.mp4"]


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


@pytest.mark.parametrize(("more", "drawn_with"), [([], (3, "dpm2m", 8)), (["--steps", 1], (1, "dpm2m", 1))])
def test_what_is_only_repaired_is_so_by_a_mean_of_draws(trained_run, main_of, manifest_dir, tmp_path, more, drawn_with):
    masked = [shot for shot in load_manifest(manifest_dir) if shot.mask_path is not None]
    shot = min(masked, key=lambda shot: shot.num_frames)
    output = tmp_path / "whole.npy"
    options = ["--run", trained_run, "--repair", manifest_dir / shot.path, "--output", output, *more]
    assert main_of("generate", *options) == 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert (record["steps"], record["sampler"], record["draws"]) == drawn_with
    clean = np.broadcast_to(shot.mask(), (3, *shot.mask().shape))
    kept = np.moveaxis(shot.frames(), -1, 0) / 127.5 - 1
    assert np.abs(np.load(output) - kept)[clean].max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run", "/nowhere", "--frames", "4", "--output", "x.mp4"], "is not a run folder"),
        (["--run", "RUN", "--frames", "0", "--output", "x.mp4"], "at least 1"),
        (["--run", "RUN", "--frames", "4", "--output", "x.avi"], "must end in .mp4"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--draws", "2"], "goes with --init"),
        (
            ["--run", "RUN", "--stream", "--output", "x.mp4", "--init", str(FOOTAGE), "--draws", "2"],
            "not with --stream",
        ),
        (["--run", "RUN", "--frames", "4", "--output", "/proc/nowhere/x.mp4"], "can't write to"),
        (["--run", "RUN", "--output", "x.mp4"], "give --frames"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--init", str(FOOTAGE)], "the run makes 8×16"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--low-res", str(FOOTAGE)], "one whole number"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--repair", str(FOOTAGE)], "not a shot of"),
        (["--run", "RUN", "--frames", "4", "--output", "x.mp4", "--class", "cat"], "has no class 'cat'"),
        (["--run", "RUN", "--frames", "4", "--output", str(FOOTAGE.parent)], "is not empty"),
    ],
)
def test_mistakes_are_one_clear_line(trained_run, main_of, capfd, arguments, says):
    assert main_of("generate", *[str(trained_run) if a == "RUN" else a for a in arguments]) == 2
    assert_one_line(capfd.readouterr().err, says)


def assert_one_line(said, *parts):
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    assert all(part in said for part in parts), said


def change_json(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def another_shape(run):
    weights = load_file(run / "clip" / "model.safetensors")
    name = next(name for name, tensor in weights.items() if tensor.dim() > 1)
    weights[name] = weights[name][:1].contiguous()
    save_file(weights, run / "clip" / "model.safetensors")


def another_name(run):
    weights = load_file(run / "clip" / "model.safetensors")
    weights["renamed"] = weights.pop(next(iter(weights)))
    save_file(weights, run / "clip" / "model.safetensors")


def one_more(run):
    weights = load_file(run / "residual" / "model.safetensors")
    save_file(weights | {"new": weights[next(iter(weights))].clone()}, run / "residual" / "model.safetensors")


DAMAGES = {
    "a stage is not trained": (lambda run: (run / "residual" / "model.safetensors").unlink(), "no finished network"),
    "weights are cut off": (lambda run: (run / "clip" / "model.safetensors").write_bytes(b"short"), "is damaged"),
    "a larger network": (
        lambda run: change_json(run / "config.json", lambda c: c["clip"]["network"].update(channels=16)),
        "does not fit",
    ),
    "a tensor of another shape": (another_shape, "does not fit"),
    "a tensor of another name": (another_name, "is missing"),
    "a tensor too many": (one_more, "new has no place"),
    "a setting of another version": (
        lambda run: change_json(run / "config.json", lambda c: c["clip"].update(colour=1, sound=2)),
        "another version of vidboot (clip.colour",
    ),
    "a gate of another version": (
        lambda run: change_json(run / "residual" / "gate.json", lambda g: g.pop("values")),
        "another version of vidboot",
    ),
    "a calibration of another version": (
        lambda run: change_json(run / "calibration.json", lambda c: c["plan"].update(sound=2)),
        "another version of vidboot",
    ),
    "a calibration for other views": (
        lambda run: change_json(run / "calibration.json", lambda c: c["plan"].update(overlap=1)),
        "fitted for other views",
    ),
    "an empty gate": (
        lambda run: change_json(run / "residual" / "gate.json", lambda g: g.update(sigmas=[], values=[])),
        "a gate needs",
    ),
    "a gate for videos with context that is cut": (
        lambda run: change_json(
            run / "residual" / "gate.json", lambda g: g.update(with_context={"sigmas": [1.0], "values": []})
        ),
        "a gate needs",
    ),
    "no frame rate": (lambda run: change_json(run / "split.json", lambda s: s.pop("fps")), "another version"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_that_is_unfinished_damaged_or_another_versions_is_one_clear_line(
    trained_run, main_of, tmp_path, capfd, name
):
    damage, says = DAMAGES[name]
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    damage(run)
    assert main_of("generate", "--run", run, "--frames", 4, "--output", tmp_path / "x.mp4") == 2
    assert_one_line(capfd.readouterr().err, says, str(run))
    assert not (tmp_path / "x.mp4").exists()


def test_a_mistake_ends_the_command_itself_with_one_line(trained_run, tmp_path, tool):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    another_shape(run)
    done = tool("generate", "--run", run, "--frames", 4, "--output", tmp_path / "x.mp4")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "does not fit" in done.stderr
    assert "Traceback" not in done.stderr
