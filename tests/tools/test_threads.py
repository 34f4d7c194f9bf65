"""How OpenMP's threads wait in the commands: set before torch is loaded, and the user's own setting wins."""

import os
import subprocess
import sys

import pytest

TOOLS = ["preprocess", "train", "generate", "evaluate"]
SAYS = "import os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "3000 False"), ({"GOMP_SPINCOUNT": "7"}, "7 False"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None False")],
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(tool, own, expected):
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = f"import vidboot_tools.{tool}; {SAYS}"
    done = subprocess.run([sys.executable, "-c", code], env=clean | own, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
