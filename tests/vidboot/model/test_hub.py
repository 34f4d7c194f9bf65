import subprocess
import sys

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects

import vidboot
from vidboot.errors import UserError
from vidboot.model import hub


def denoised(model):
    x = torch.randn(1, 3, 12, 8, 16, generator=torch.Generator().manual_seed(0))
    return model.denoise(x, torch.tensor([0.7]))


def test_what_is_saved_denoises_the_same(trained_run, tmp_path):
    model = vidboot.load(trained_run)
    vidboot.save_pretrained(model, tmp_path / "model")
    again = vidboot.from_pretrained(tmp_path / "model")
    assert torch.equal(denoised(again), denoised(model))
    assert again.fps == model.fps
    assert vidboot.weights_hash(tmp_path / "model") == vidboot.weights_hash(trained_run)


def test_saving_into_the_folder_of_a_training_is_refused(trained_run):
    """Its split tells what was held out."""
    before = (trained_run / "split.json").read_bytes()
    with pytest.raises(UserError, match="whose split would be lost"):
        vidboot.save_pretrained(vidboot.load(trained_run), trained_run)
    assert (trained_run / "split.json").read_bytes() == before


def test_reading_needs_no_deepspeed(trained_run):
    code = f"import sys, vidboot; vidboot.load({str(trained_run)!r}); sys.exit('deepspeed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_is_fetched_whole_and_nothing_else(trained_run, tmp_path, monkeypatch):
    """Pickles in a repository, which can run programs, do not even come onto the machine."""
    vidboot.save_pretrained(vidboot.load(trained_run), tmp_path)
    model = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    asked = {}
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **more: asked.update(more) or str(tmp_path))
    assert torch.equal(denoised(vidboot.from_pretrained("lab/model")), denoised(vidboot.load(trained_run)))
    there = [*model, "clip/pytorch_model.bin", "model.pt", "weights.pkl", "modeling.py", ".gitattributes"]
    assert list(filter_repo_objects(there, allow_patterns=asked["allow_patterns"])) == model


def test_neither_folder_nor_repository(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="neither a folder nor a repository"):
        vidboot.from_pretrained("not a/valid/name")
