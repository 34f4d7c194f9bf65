"""The memory of a worker does not grow with the length of its video."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import TRAILER, loop, write

from data_prep.text.model import model_path
from vidboot.data.video import read_frames

ROOT = Path(__file__).parents[2]
RATE = 10
# Runs the command and prints the largest resident set (KiB) of it and its workers.
PEAK = """
import resource, subprocess, sys
assert subprocess.run(sys.argv[1:]).returncode == 0
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


# The model processes single frames, so a short film suffices; two hours of film take it an hour on one core.
@pytest.mark.slow
@pytest.mark.parametrize(("detector", "seconds"), [("opencv", 300), ("opencv", 7200), ("model", 120)])
def test_a_long_film_in_full_hd_takes_less_than_a_gigabyte(tmp_path, detector, seconds):
    if detector == "model" and model_path() is None:
        pytest.skip("the text detector's package is not installed")
    frames = np.stack([cv2.resize(image, (1920, 1080)) for image in read_frames(TRAILER)[250:550:2]])
    short = write(tmp_path / "short.mp4", frames, rate=RATE, crf="30", preset="veryfast")
    film = loop(short, tmp_path / "film.mp4", seconds)
    del frames
    tool = ROOT / "tools/preprocess.py"
    options = ["--output", tmp_path / "out", "workers=1", f"text.detector={detector}"]
    command = [sys.executable, "-c", PEAK, sys.executable, tool, film, *options]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
    peak = 1024 * int(done.stdout.rsplit("peak", 1)[1])
    print(f"peak {peak / 1e6:.0f} MB")
    assert peak < 1e9
