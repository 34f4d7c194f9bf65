"""A run for the app, untrained and small, and a film with a subtitle."""

from pathlib import Path

import pytest
from small_model import small_model

from vidboot.app.generating import Studio
from vidboot.app.request import AppRequest
from vidboot.model.run_folder import save


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: videos of 12 frames of 8×8 pixels; networks are given known pixels."""
    folder = tmp_path_factory.mktemp("small") / "run"
    save(small_model(context=0.5), folder)
    return folder


@pytest.fixture
def studio(small_run: Path, tmp_path: Path) -> Studio:
    """The run with small limits."""
    folder = tmp_path / "studio"
    folder.mkdir()
    return Studio(AppRequest(run=small_run, max_megabytes=2, max_frames=60), folder)
