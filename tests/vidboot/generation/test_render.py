"""Files that generation reads and writes, with a small untrained model."""

import json
import os
import shlex
from fractions import Fraction

import cv2
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from small_model import small_model

from vidboot.data.video import write_video
from vidboot.generation.streaming import StreamState
from vidboot.model.run_folder import save


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder: videos of 12 frames of 8×8 pixels; a stream's first chunk yields 9 frames, a later one 5."""
    folder = tmp_path_factory.mktemp("run")
    save(small_model(), folder)
    return folder


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_an_output_is_made_by_one_process_at_a_time(run, main_of, tmp_path, capfd, more):
    words = ["--run", run, "--frames", 4, "--steps", 1, "--iterations", 0, "--output", tmp_path / "v.mp4", *more]
    with FileLock(tmp_path / ".lock-v.mp4"):
        assert main_of("generate", *words) == 2
    assert f"another process makes {tmp_path / 'v.mp4'}: wait for it" in capfd.readouterr().err
    assert not (tmp_path / "v.mp4").exists()
    assert main_of("generate", *words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.json", "v.mp4"]


@pytest.mark.parametrize("ending", [".mp4", ""])
def test_a_stream_that_was_stopped_after_its_end_is_finished_again(run, main_of, tmp_path, monkeypatch, ending):
    """Stopped after the output got its name but before the record was written: no frame is lost or sampled again."""
    output = tmp_path / f"v{ending}"
    arguments = ["--run", run, "--frames", 20, "--steps", 1, "--iterations", 1, "--stream", "--output", output]
    with monkeypatch.context() as patch:
        patch.setattr("vidboot.generation.render.write_atomic", stop)
        assert main_of("generate", *arguments) == 130
    files = [output] if ending else sorted(output.iterdir())
    made = [file.read_bytes() for file in files]
    assert not output.with_suffix(".json").exists()
    monkeypatch.setattr("vidboot.generation.streaming.sample", stop)
    assert main_of("generate", *arguments) == 0
    assert [file.read_bytes() for file in files] == made
    assert len(files) == (1 if ending else 20)
    assert output.with_suffix(".json").exists()
    assert not output.with_name(f"v{ending}.unfinished").exists()


def stop(*arguments, **options):
    raise KeyboardInterrupt


def options_of(run, output, *more):
    return ["--run", run, "--frames", 3, "--steps", 1, "--output", output, *more]


OUT_OF_RANGE = [
    (["--seed", -1], "seeds are"),
    (["--seed", 2**63], "seeds are"),
    (["--seed", 2**63 - 1, "--samples", 2], "seeds are"),
    (["--fps", 0], "--fps is at least 0.01, got 0"),
    (["--frames", 10**20], "--frames is at most"),
    (["--fps", "inf"], "--fps is a finite number"),
    (["--guidance", "nan", "--class", "cat"], "--guidance is a finite number"),
    (["--guidance", 2], "needs --class"),
    (["--enlarge", 0], "--enlarge is at least 1"),
    (["--churn", "nan"], "--churn is a finite number"),
    (["--churn", -1], "--churn is at least 0"),
    (["--churn", 1, "--sampler", "euler"], "heun only"),
]


@pytest.mark.parametrize("mode", [[], ["--stream"]])
@pytest.mark.parametrize(("options", "says"), OUT_OF_RANGE)
def test_options_out_of_range_are_one_clear_line(run, main_of, tmp_path, capfd, options, says, mode):
    assert main_of("generate", *options_of(run, tmp_path / "v.mp4"), *options, *mode) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert says in said
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("mode", [[], ["--stream"]])
def test_the_largest_seed_is_one(run, main_of, tmp_path, mode):
    assert main_of("generate", *options_of(run, tmp_path / "v.npy", "--seed", 2**63 - 1), *mode) == 0


@pytest.mark.parametrize("mode", [[], ["--stream"]])
@pytest.mark.parametrize("name", ["/proc/x.mp4", "n" * 300 + ".mp4", "n" * 240 + ".mp4", "file/x.mp4", "folder.npy"])
def test_names_that_cannot_be_written_are_found_before_sampling(run, main_of, tmp_path, capfd, monkeypatch, name, mode):
    monkeypatch.setattr("vidboot.generation.render.sample_seeds", None)
    monkeypatch.setattr("vidboot.generation.render.stream", None)
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    assert main_of("generate", *options_of(run, tmp_path / name), *mode) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


def test_a_file_in_the_way_of_the_unfinished_stream_is_one_clear_line(run, main_of, tmp_path, capfd):
    (tmp_path / "v.mp4.unfinished").touch()
    assert main_of("generate", *options_of(run, tmp_path / "v.mp4", "--stream")) == 2
    assert "v.mp4.unfinished: File exists" in capfd.readouterr().err


def test_the_record_does_not_replace_a_file_of_the_run(run, main_of, capfd):
    before = (run / "split.json").read_bytes()
    assert main_of("generate", *options_of(run, run / "split.mp4")) == 2
    assert "split.json is no record" in capfd.readouterr().err
    assert (run / "split.json").read_bytes() == before
    assert not (run / "split.mp4").exists()


def test_no_folder_is_made_for_a_run_that_is_none(main_of, tmp_path):
    assert main_of("generate", *options_of(tmp_path / "nowhere", tmp_path / "new" / "v.mp4")) == 2
    assert not [*tmp_path.iterdir()]


def test_the_recorded_command_keeps_every_digit(run, main_of, tmp_path):
    output = tmp_path / "v.npy"
    assert main_of("generate", *options_of(run, output, "--fps", 30000 / 1001, "--churn", 1 / 3)) == 0
    record = json.loads(output.with_suffix(".json").read_text())
    words = shlex.split(record["command"])
    assert float(words[words.index("--fps") + 1]) == 30000 / 1001
    assert float(words[words.index("--churn") + 1]) == record["churn"] == 1 / 3
    made = output.read_bytes()
    output.unlink()
    assert main_of("generate", *words[2:]) == 0  # without a class, it has no --guidance
    assert output.read_bytes() == made


@pytest.mark.parametrize("mode", [[], ["--stream"]])
def test_enlarged_frames_are_those_of_opencv(run, main_of, tmp_path, mode):
    for times in (1, 3):
        output = tmp_path / f"{times}.npy"
        assert main_of("generate", *options_of(run, output, "--samples", 2, "--enlarge", times, *mode)) == 0
    small, large = (np.load(tmp_path / f"{times}.npy") for times in (1, 3))
    assert large.shape == (3, 3, 3 * small.shape[2], 3 * small.shape[3])
    expected = [cv2.resize(f, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for f in small.transpose(1, 2, 3, 0)]
    assert np.allclose(large.transpose(1, 2, 3, 0), np.clip(expected, -1, 1), atol=1e-5)


def test_churn_changes_the_video_and_a_stream_with_another_does_not_go_on(run, main_of, tmp_path, monkeypatch, capfd):
    for churn in (0, 20):
        options = ["--steps", 3, "--churn", churn]
        assert main_of("generate", *options_of(run, tmp_path / f"{churn}.npy"), *options) == 0
    assert not np.allclose(np.load(tmp_path / "0.npy"), np.load(tmp_path / "20.npy"), atol=1e-3)
    stop_in_the_middle(run, main_of, tmp_path, monkeypatch)
    assert main_of("generate", *options_of(run, tmp_path / "v.npy", "--stream", "--churn", 1)) == 2
    assert "another churn" in capfd.readouterr().err


def test_an_input_is_not_replaced(run, main_of, tmp_path, capfd):
    video = tmp_path / "v.mp4"
    write_video(video, np.zeros((5, 8, 8, 3), np.uint8), 24)
    before = video.read_bytes()
    assert main_of("generate", *options_of(run, tmp_path / "." / "v.mp4", "--init", video)) == 2
    assert "is the file of --init too" in capfd.readouterr().err
    assert video.read_bytes() == before


def test_a_video_that_goes_on_keeps_its_frame_rate(run, main_of, tmp_path):
    write_video(tmp_path / "init.mp4", np.zeros((2, 8, 8, 3), np.uint8), Fraction(30000, 1001))
    for more, fps in (([], 30000 / 1001), (["--fps", 10], 10)):
        assert main_of("generate", *options_of(run, tmp_path / "v.npy", "--init", tmp_path / "init.mp4"), *more) == 0
        assert json.loads((tmp_path / "v.json").read_text())["fps"] == pytest.approx(fps)


def test_a_still_gif_to_go_on_from_gives_no_frame_rate_and_the_runs_is_taken(run, main_of, tmp_path):
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "init.gif")
    rates = []
    for number, more in enumerate(([], ["--init", tmp_path / "init.gif"])):
        assert main_of("generate", *options_of(run, tmp_path / f"{number}.npy", *more)) == 0
        rates.append(json.loads((tmp_path / f"{number}.json").read_text())["fps"])
    assert rates == [24.0, 24.0]


def test_the_record_of_another_output_is_not_replaced(run, main_of, tmp_path, capfd):
    assert main_of("generate", *options_of(run, tmp_path / "v.npy")) == 0
    assert main_of("generate", *options_of(run, tmp_path / "v.gif")) == 2
    assert f"is the record of {tmp_path / 'v.npy'}" in capfd.readouterr().err
    (tmp_path / "v.npy").unlink()
    assert main_of("generate", *options_of(run, tmp_path / "v.gif")) == 0


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_one_clear_line(run, main_of, tmp_path, capfd, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("vidboot.generation.render.sample_seeds", fail)
    assert main_of("generate", *options_of(run, tmp_path / "v.npy")) == 2
    assert "too little memory for 3 frames at once: try --stream" in capfd.readouterr().err


def test_a_stream_goes_on_under_another_spelling_of_its_paths(run, main_of, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "init.bmp")
    stop_in_the_middle(run, main_of, tmp_path, monkeypatch, "--init", tmp_path / "init.bmp")
    (tmp_path / "init.bmp").rename(tmp_path / "moved.bmp")
    monkeypatch.chdir(tmp_path)
    assert main_of("generate", *options_of(run, "v.npy", "--stream", "--init", "moved.bmp")) == 0


def stop_in_the_middle(run, main_of, tmp_path, monkeypatch, *options):
    save_state = StreamState.save

    def save_and_stop(*arguments):
        save_state(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StreamState, "save", save_and_stop)
        assert main_of("generate", *options_of(run, tmp_path / "v.npy", "--stream"), *options) == 130


def test_a_stream_does_not_go_on_with_other_first_frames(run, main_of, tmp_path, monkeypatch, capfd):
    """The file has the same name, size and time; only its content differs."""
    init = tmp_path / "init.bmp"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(init)
    stop_in_the_middle(run, main_of, tmp_path, monkeypatch, "--init", init)
    assert "go on from what is done" in capfd.readouterr().err
    status = init.stat()
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(init)
    os.utime(init, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert init.stat().st_size == status.st_size
    assert main_of("generate", *options_of(run, tmp_path / "v.npy", "--stream", "--init", init)) == 2
    assert "another init_hash;" in capfd.readouterr().err


def test_stopped_without_a_stream_nothing_is_kept_and_that_is_said(run, main_of, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("vidboot.generation.render.sample_seeds", stop)
    assert main_of("generate", *options_of(run, tmp_path / "v.mp4")) == 130
    said = capfd.readouterr().err
    assert "nothing of the video is kept" in said
    assert "go on from what is done" not in said
    assert not [*tmp_path.iterdir()]
