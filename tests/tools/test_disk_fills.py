"""A disk that fills up while a command runs: 20 tries of each.

In every other try a random number of pages is left before the command starts, of those that it needs; in the others all
is taken at a random moment. Each try must end in one sentence, and the same command, once there is room, must give what
an undisturbed one gives.
"""

import json
import os
import random
import shutil
import sys
import time

import pytest
from footage import results, titled_films
from safetensors.torch import load_file
from small_disk import one_sentence, small_disk
from small_model import small_model

from vidboot.model.run_folder import save

TRIES = 20
LEAN = ["clip.full_length=null", "log.evaluate_every=2", "log.sample_every=2", "log.sample_steps=1"]
LEAN += ["evaluation.num_videos=1", "evaluation.sigmas=[0.5]", "calibration.num_videos=1", "calibration.num_draws=2"]

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def command(main_of, tmp_path):
    """Runs a command in a process that is forked from this one, which has imported all: returns code and words."""

    def run(name, *arguments):
        said = tmp_path / "said.txt"
        child = os.fork()
        if not child:
            with said.open("w") as file:
                for stream in (1, 2):
                    os.dup2(file.fileno(), stream)
            code = 70
            try:
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                code = main_of(name, *arguments)
            except BaseException as error:  # what a user would see as a traceback
                print("Traceback", repr(error), flush=True)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), said.read_text()

    return run


def tried(disk, run, made, seed):
    """Fill the disk under a command, `TRIES` times; `made` reads what it has made, and tidies it away."""
    run()  # imports what it needs
    wanted, begun, chance = made(), time.monotonic(), random.Random(seed)
    assert run()[0] == 0
    seconds, pages = time.monotonic() - begun, disk.pages_in_use()
    assert made() == wanted
    tries = number = 0
    while tries < TRIES:
        number += 1
        if number % 2:
            disk.leave(chance.randrange(pages))
            code, said = run()
        else:
            with disk.filled_after(chance.uniform(0, seconds)):
                code, said = run()
        disk.make_room()
        if code:
            tries += 1
            assert code == 2 and one_sentence(said), (number, code, said)
            again, words = run()
            assert again == 0, (number, said, words)
        assert made() == wanted, (number, said)


def test_preprocessing(disk, command, tmp_path):
    import data_prep.run  # noqa: F401 (what is forked has it then)

    titled_films(tmp_path / "films", 3)
    output = disk.path / "out"
    options = ["height=36", "width=64", "views.full_frames=32", "workers=2", "text.detector=opencv"]

    def made():
        found = results(output)
        assert not list(output.rglob(".partial-*"))
        shutil.rmtree(output)
        return found

    tried(disk, lambda: command("preprocess", tmp_path / "films", "--output", output, *options), made, 0)


def test_training(disk, command, tiny_config):
    import vidboot.training.run  # noqa: F401 (what is forked has it then)

    run = disk.path / "run"

    def made():
        weights = {path.parent.name: load_file(path) for path in run.glob("*/model.safetensors")}
        values = {stage: {name: one.tolist() for name, one in tensors.items()} for stage, tensors in weights.items()}
        numbers = [json.loads(path.read_text()) for path in sorted(run.glob("**/*.json")) if path.name != "config.json"]
        lines = [json.loads(line) for path in sorted(run.glob("*/metrics.jsonl")) for line in path.open()]
        samples = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.mp4")}
        assert not list(run.rglob(".partial*"))
        shutil.rmtree(run)
        timed = ("videos_per_second", "frames_per_second", "memory_gb", "seconds")
        return values, numbers, [{k: v for k, v in line.items() if k not in timed} for line in lines], samples

    tried(disk, lambda: command("train", "--config", tiny_config, f"run_dir={run}", *LEAN), made, 1)


@pytest.mark.parametrize("way", [["v.mp4"], ["v.mp4", "--stream"], ["v.npy"], ["frames"]], ids=" ".join)
def test_generation(disk, command, tmp_path, way):
    import vidboot.generation.render  # noqa: F401 (what is forked has it then)

    run, (name, *options) = tmp_path / "run", way
    save(small_model(), run)
    folder = disk.path / "new"

    def made():
        files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        shutil.rmtree(folder)
        return files

    words = ["--run", run, "--frames", 96, "--steps", 1, "--iterations", 0, "--output", folder / name, *options]
    tried(disk, lambda: command("generate", *words), made, 2)
