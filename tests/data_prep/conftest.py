import sys
from pathlib import Path

import pytest

# The tests share `footage.py`.
sys.path.insert(0, str(Path(__file__).parent))

from engines import InProcess


@pytest.fixture
def in_process(monkeypatch):
    """Runs do their work in the test's own process."""
    monkeypatch.setattr("data_prep.run.make_engine", InProcess)
