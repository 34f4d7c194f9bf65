"""Publishing a run on a stand-in for the hub, and reading it from there, by the hub's own client."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import hub
from PIL import Image
from small_model import small_model

import vidboot
from vidboot.errors import UserError
from vidboot.evaluation import model_card
from vidboot.evaluation.publishing import write_repository
from vidboot.experiments.digits import write_digits
from vidboot.model.run_folder import load_config, save, save_config

RESULTS = {
    "sigmas": [0.5, 2.0],
    "rows": {"base": {"videos": 4, "mean_image": 1.0, "untrained": [0.5, 0.25], "trained": [0.125, 0.0625]}},
}
INTERVAL = {"mean": 0.01, "low": 0.008, "high": 0.0125}
PICKLE = b"cos\nsystem\n(S'touch hacked'\ntR."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of videos of 12 frames of 8×8 pixels whose data are there, at an absolute path."""
    folder = tmp_path_factory.mktemp("publishing")
    write_digits(folder / "secret" / "data", full=4, clips=2, low_res=2, subtitled=0.5)
    save(small_model(), folder / "secret" / "run")
    stored = json.loads((folder / "secret" / "run" / "config.json").read_text())
    stored["data"]["manifest"], stored["run_dir"] = str(folder / "secret" / "data"), str(folder / "secret" / "run")
    (folder / "secret" / "run" / "config.json").write_text(json.dumps(stored))
    (folder / "secret" / "run" / "results.json").write_text(json.dumps(RESULTS))
    return folder / "secret" / "run"


@pytest.fixture(scope="module")
def repository(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is published of it."""
    folder = tmp_path_factory.mktemp("repository")
    write_repository(run, folder, "lab/digits", "cc-by-4.0")
    return folder


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_the_card_is_filled_from_the_run(repository: Path) -> None:
    text = card(repository)
    assert text.startswith("---\n") and "\nlicense: cc-by-4.0\n" in text.split("---")[1]
    assert "| full | 4 | 0.001 | 4 | 0 | 0 |" in text  # 4 videos of 32 frames at 24 in a second
    assert "| clip | 6 | 0.002 | 5 | 1 | 0 |" in text
    assert "| base | 0.5000 → 0.1250 | 0.2500 → 0.0625 |" in text
    assert "| low-res, 1/2 | 12 | 4×4 | 1 |" in text and "trained on 12 frames of 8×8 pixels" in text
    assert "{{" not in text and "None" not in text
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert sum(table.count("\n") for table in tables) == len(rows) and len(tables) == 4
    for table in tables:  # each row has as many cells as the head
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_its_pictures_are_the_samples_of_the_model(run: Path, repository: Path) -> None:
    with Image.open(repository / "longer.gif") as picture:
        assert picture.n_frames == 24 and picture.size == (96, 96)
    with Image.open(repository / "sample.gif") as picture:
        assert picture.n_frames == 12 and picture.size == (96, 96)
        picture.seek(11)
        last = torch.from_numpy(np.array(picture.convert("RGB"), np.float32))
    made = vidboot.generate(vidboot.load(run), 12, seed=0)[:, -1].permute(1, 2, 0)
    expected = ((made + 1) * 127.5).repeat_interleave(12, 0).repeat_interleave(12, 1)
    assert (last - expected).abs().mean() < 8  # a GIF has 256 colours


def test_a_report_gives_intervals_and_what_is_not_there_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card, "_write_gif", lambda *settings: None)
    (tmp_path / "run").mkdir()
    save(vidboot.load(run), tmp_path / "run")
    config = load_config(run)
    save_config(
        tmp_path / "run", config.model_copy(update={"data": config.data.model_copy(update={"manifest": tmp_path})})
    )
    write_repository(tmp_path / "run", tmp_path / "a", "lab/a")
    assert "It was not measured." in card(tmp_path / "a")
    assert "The data were not on the machine" in card(tmp_path / "a") and "None was given: ask" in card(tmp_path / "a")
    (tmp_path / "run" / "evaluation").mkdir()
    report = {"test_shots": 7, "sigmas": [0.5], "denoising": {"base": [INTERVAL]}}
    (tmp_path / "run" / "evaluation" / "evaluation.json").write_text(json.dumps(report))
    write_repository(tmp_path / "run", tmp_path / "b", "lab/b")
    assert "over 7 held-out shots" in card(tmp_path / "b") and "| base | 0.0100 (0.0080–0.0125) |" in card(
        tmp_path / "b"
    )


def test_no_folder_of_the_machine_is_published(run: Path, repository: Path) -> None:
    assert "secret" in str(run)
    assert {path.name for path in repository.rglob("*") if path.is_file() and b"secret" in path.read_bytes()} == set()
    assert json.loads((repository / "config.json").read_text())["data"]["manifest"] == "data"


PROGRAM = """
import sys, numpy, vidboot
print(vidboot.push_to_hub(sys.argv[1], "lab/digits", "mit"))
for _ in range(2):  # the second time it is here already
    model = vidboot.from_pretrained("lab/digits")
numpy.save("made.npy", vidboot.generate(model, 4, seed=5).numpy())
"""


@pytest.mark.slow
def test_what_is_pushed_comes_back_and_nothing_else_is_fetched(run: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_right", "HF_HUB_DISABLE_XET": "1"}
    with hub() as server:
        # What anybody with access could have added. Pickles run programs when they are read.
        bad = dict.fromkeys(("clip/pytorch_model.bin", "model.pt", "weights.pkl", "config.yaml", "run.py"), PICKLE)
        files = server.repositories["lab/digits"] = dict(bad)
        environment |= {"HF_ENDPOINT": server.address}
        command = [sys.executable, "-c", PROGRAM, str(run)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"{server.address}/lab/digits/commit/" in done.stdout
        model = sorted(name for name in files if name.endswith((".json", ".safetensors")))
        assert files.keys() - bad.keys() - set(model) == {"README.md", "sample.gif", "longer.gif"}
        assert sorted(server.fetched()) == model  # each once
    made = torch.from_numpy(np.load(tmp_path / "made.npy"))
    assert torch.equal(made, vidboot.generate(vidboot.load(run), 4, seed=5).as_subclass(torch.Tensor))
    assert not (tmp_path / "hacked").exists()


def test_a_hub_that_refuses_is_quoted(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
        with pytest.raises(UserError, match=r"^the hub refuses lab/digits: .*401"):
            vidboot.push_to_hub(run, "lab/digits", token="hf_wrong")
        assert server.repositories == {}
