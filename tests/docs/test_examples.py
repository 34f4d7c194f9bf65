"""The programs in docs/examples run as they stand, and their samples have the statistics of their data."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def printed(name: str) -> list[list[float]]:
    """The decimals that an example prints, line by line."""
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [[float(number) for number in re.findall(r"-?\d+\.\d+", line)] for line in done.stdout.splitlines()]


def test_all_are_tested_and_short() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"compose.py", "extend_a_noise_predictor.py"}
    assert all(len(path.read_text().splitlines()) <= 40 for path in EXAMPLES.glob("*.py"))


def test_composed_with_a_low_resolution_view_the_end_is_as_bright_as_the_start() -> None:
    """x0 = m + d: m ~ N(0, 0.5²) one number for each of 64 videos, d one of 0.2 for each pixel."""
    (_, clips_alone), (brightness, same), data = printed("compose.py")
    assert data == [0.5, 1.0]
    assert brightness == pytest.approx(0.5, abs=4 * 0.5 / (2 * 64) ** 0.5)  # four standard errors
    assert same > 0.99
    assert clips_alone < 0.5  # which is what the low-resolution view is for


def test_a_network_of_16_frames_makes_64_frames_with_the_correlations_of_its_data() -> None:
    """A stationary process of which each frame is 0.9 of the one before: standard deviation 0.5, correlation 0.9^d."""
    (deviation, _), *correlations = printed("extend_a_noise_predictor.py")
    assert deviation == pytest.approx(0.5, abs=0.02)
    assert [found for found, _ in correlations] == pytest.approx([0.9, 0.9**4, 0.9**8], abs=0.04)
