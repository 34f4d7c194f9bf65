"""What tests of training and of the commands share: the bundled footage, preprocessed small, and a run that fits it."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Before torch is imported, and for the commands that tests start: with `-n` there is a process for each core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent

FOOTAGE = ROOT / "tests" / "data" / "big_buck_bunny_trailer.mp4"


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those for one: the others compare with what a CPU computes."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


TINY_CONFIG = """
run_dir: {run_dir}
data: {{ manifest: {manifest}, holdout: 0.35, num_workers: 0 }}
video: {{ num_frames: 12, height: 8, width: 16, overlap: 4 }}
clip:
  num_frames: 4
  overlap: 2
  network: {{ channels: 8, multipliers: [1, 2] }}
  train: {{ steps: 6, batch_size: 4, warmup_steps: 2 }}
  full_length: {{ share: 0.5, scale: 2 }}
low_res:
  - scale: 2
    network: {{ channels: 8, multipliers: [1, 2] }}
    train: {{ steps: 4, batch_size: 2, warmup_steps: 2 }}
calibration: {{ num_videos: 2, sigmas: [0.3, 3.0] }}
residual:
  form: reads_base
  train: {{ steps: 4, batch_size: 2, learning_rate: 1.0e-3, warmup_steps: 2 }}
evaluation: {{ sigmas: [0.5, 2.0], num_videos: 2 }}
log: {{ log_every: 1, evaluate_every: 2, sample_every: 4, sample_steps: 2, checkpoint_every: 2 }}
"""


@pytest.fixture(scope="session")
def manifest_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled trailer, preprocessed to 16×8."""
    from data_prep.config import Preprocess
    from data_prep.run import preprocess
    from vidboot.settings import load_settings

    folder = tmp_path_factory.mktemp("manifest")
    overrides = ["height=8", "width=16", "views.clip_frames=4", "views.full_frames=12", "workers=1"]
    preprocess([str(FOOTAGE)], str(folder), load_settings(Preprocess, None, overrides))
    return folder


@pytest.fixture
def tiny_config(tmp_path: Path, manifest_dir: Path) -> Path:
    """A config that trains all stages on the trailer in seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_CONFIG.format(run_dir=tmp_path / "run", manifest=manifest_dir))
    return path


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, manifest_dir: Path) -> Path:
    """A run folder, trained to the end by the command."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "tiny.yaml"
    config.write_text(TINY_CONFIG.format(run_dir=folder / "run", manifest=manifest_dir))
    done = run_tool("train", "--config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def run_tool(
    name: str, *arguments: object, launcher: tuple[str, ...] = (sys.executable,)
) -> subprocess.CompletedProcess:
    """Run `tools/NAME.py` as a user would, with no distributed environment variable set."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")}
    command = [*launcher, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=400)


def run_main(name: str, *arguments: object) -> int:
    """Run a command's `main` in this process, where only its message matters; returns the exit code."""
    main = importlib.import_module(f"vidboot_tools.{name}").main
    before, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    raise AssertionError("a command ends with an exit code")


@pytest.fixture
def main_of() -> object:
    """The function `run_main`."""
    return run_main


@pytest.fixture(scope="session")
def tool() -> object:
    """The function `run_tool`."""
    return run_tool
