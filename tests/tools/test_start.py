"""What a command loads before it is needed: each of these libraries takes up to as long to load as torch itself."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from vidboot.experiments.digits import write_digits

ROOT = Path(__file__).parents[2]
SLOW = ("deepspeed", "tensorboard", "torch._dynamo", "torch.utils.flop_counter", "scipy.linalg", "matplotlib")
TRAIN = """
import sys
import vidboot.training.step as step

class Reached(Exception): ...

def reach(*arguments):
    raise Reached

step.TrainStep._set_rate = reach
from vidboot.config import RunConfig
from vidboot.settings import load_settings
from vidboot.training.run import train

try:
    train(load_settings(RunConfig, sys.argv[1], sys.argv[2:]), "clip")
except Reached:
    print("reached")
"""


def loaded(code: str, *arguments: str) -> tuple[set[str], str]:
    """Which of the slow libraries a program has loaded at its end, and what it printed before."""
    show = f"\nimport sys\nprint('loaded:', *[name for name in {(*SLOW, 'torch')!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + show, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said, _, names = done.stdout.rpartition("loaded:")
    return set(names.split()), said


@pytest.mark.parametrize("module", ["vidboot.training.run", "vidboot.generation.sending"])
def test_torch_is_the_only_slow_library_at_the_start(module):
    assert loaded(f"import {module}")[0] == {"torch"}


@pytest.mark.parametrize("tool", ["train", "generate", "preprocess"])
def test_arguments_are_read_without_torch(tool):
    assert loaded(f"import runpy; runpy.run_path('tools/{tool}.py')")[0] == set()


def test_a_training_reaches_its_first_step_without_the_others(tiny_config, tmp_path):
    write_digits(tmp_path / "data", full=4, clips=2, low_res=2, num_frames=12, clip_frames=4, size=16)
    small = ["video={num_frames: 12, height: 16, width: 16, overlap: 4}", f"data.manifest={tmp_path / 'data'}"]
    names, said = loaded(TRAIN, str(tiny_config), f"run_dir={tmp_path / 'run'}", *small)
    assert "reached" in said
    # Torchcodec, where it is installed, loads torch's compiler to decode.
    assert names - ({"torch._dynamo"} if find_spec("torchcodec") else set()) == {"torch"}
