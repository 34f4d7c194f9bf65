"""Trainings that start from another run, as commands: what is taken, what is said, and what is refused."""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vidboot
from vidboot.config import RunConfig
from vidboot.settings import load_settings
from vidboot.training.network_training import draw_steps
from vidboot.training.run import run_split
from vidboot.training.stages import stages_of

CLIP = ("--stage", "clip", "residual=null", "calibration=null")


def losses(run):
    rows = [json.loads(line) for line in (run / "clip" / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.fixture(scope="module")
def started(trained_run, tmp_path_factory, tool):
    """A copy of the trained run, a run whose clip network was trained from it, and what that training said."""
    folder = tmp_path_factory.mktemp("started")
    source, run = shutil.copytree(trained_run, folder / "source"), folder / "run"
    words = ["--config", trained_run.parent / "tiny.yaml", f"run_dir={run}", f"clip.start_from={source}"]
    done = tool("train", *words, *CLIP)
    assert done.returncode == 0, done.stdout + done.stderr
    return source, run, done.stdout


def first_loss(config, weights):
    """The loss of the first step's batch, with the weights of a file."""
    (stage,) = stages_of(config, "clip")
    training = stage.training(run_split(config))
    training.network.load_state_dict(load_file(weights))
    batch = next(draw_steps(training, 0, 0))
    with torch.no_grad():
        return sum(training.loss(training.network, part).mean().item() for part in batch) / len(batch)


def test_it_starts_as_the_source_and_goes_on_without_it(started, trained_run, tiny_config, tool):
    source, run, said = started
    weights = trained_run / "clip" / "model.safetensors"
    config = load_settings(RunConfig, tiny_config)
    assert losses(run)[0] == pytest.approx(first_loss(config, weights), rel=1e-5)
    assert losses(run)[0] != pytest.approx(losses(trained_run)[0], rel=1e-2)  # at random
    count = sum(tensor.numel() for tensor in load_file(weights).values())
    assert f"clip: starts from {source}: {count:,} of {count:,} parameters" in said
    assert "something else" not in said and "doesn't say" not in said
    record = json.loads((run / "clip" / "start.json").read_text())
    assert record["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["taken"] == record["parameters"] == count and record["differs"] == []

    # Stopped after step 4, and the source is gone.
    before = losses(run)
    trained = load_file(run / "clip" / "model.safetensors")
    (run / "clip" / "model.safetensors").unlink()
    shutil.rmtree(run / "clip" / "checkpoints" / "step-0000006")
    shutil.rmtree(source)
    done = tool("train", "--config", tiny_config, f"run_dir={run}", *CLIP, f"clip.start_from={source}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "goes on from the checkpoint at step 4" in done.stdout and "starts from" not in done.stdout
    assert losses(run) == before
    again = load_file(run / "clip" / "model.safetensors")
    assert all(torch.equal(again[name], trained[name]) for name in trained)
    assert json.loads((run / "clip" / "start.json").read_text()) == record


def test_another_start_is_another_setting_of_a_stage_that_has_begun(started, tiny_config, main_of, capfd):
    source, run, _ = started
    assert main_of("train", "--config", tiny_config, f"run_dir={run}", *CLIP) == 2
    assert f"clip.start_from: {source} there, absent now" in capfd.readouterr().err
    assert main_of("train", "--config", tiny_config, f"run_dir={run}", *CLIP, f"clip.start_from={source.parent}") == 2
    assert f"clip.start_from: {source} there, {source.parent} now" in capfd.readouterr().err


def test_what_does_not_fit_is_named_by_the_plan(trained_run, tiny_config, main_of, capfd):
    deeper = ["clip.network.multipliers=[1,2,4]", "noise.sigma_data=0.4", "data.context=0"]
    words = [*CLIP, "low_res=[]", "--dry-run", f"clip.start_from={trained_run}", *deeper]
    assert main_of("train", "--config", tiny_config, *words) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert f"clip: starts from {trained_run}: " in said
    # The decoder's second level gets 32 channels from below where it got 16, beside 16 of the encoder's.
    shapes = "network.decoder.1.blocks.0.norm_space.weight 32 there, 48 here"
    assert f"clip: doesn't fit, so it isn't taken: {shapes}, " in said
    assert "not in that file: network.encoder.2." in said
    assert "noise.sigma_data 0.5 there, 0.4 here" in said
    assert "pixels without noise (data.context) yes there, no here" in said
    assert not (tiny_config.parent / "run").exists()


def test_a_low_resolution_network_may_start_from_the_file_of_another_view(trained_run, tiny_config, main_of, capfd):
    words = ["--stage", "low_res_2", "residual=null", "calibration=null", "--dry-run"]
    file = trained_run / "clip" / "model.safetensors"
    assert main_of("train", "--config", tiny_config, *words, f"low_res.0.start_from={file}") == 0
    said = " ".join(capfd.readouterr().out.split())
    assert f"low_res_2: starts from {file}: " in said
    assert "low-resolution factor 1 there, 2 here" in said and "frames 4 there, 12 here" in said


def test_what_was_exported_starts_like_the_run(trained_run, tiny_config, tmp_path, main_of, capfd):
    vidboot.save_pretrained(vidboot.load(trained_run), tmp_path / "model")
    lone = shutil.copy(trained_run / "clip" / "model.safetensors", tmp_path / "lone.safetensors")
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(lone), bare)
    for source in (trained_run, tmp_path / "model", lone, bare):
        assert main_of("train", "--config", tiny_config, *CLIP, "--dry-run", f"clip.start_from={source}") == 0
        said = " ".join(capfd.readouterr().out.split())
        assert f"clip: starts from {source}: " in said and "something else" not in said
        assert ("doesn't say what it was made for" in said) == (source == bare)


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def hostile(tmp_path):
    """A function that writes a hostile file, and the path that it makes when it is read."""
    marker = tmp_path / "executed"
    pickle.loads(pickle.dumps(Hostile(marker)))
    assert marker.exists()  # it is
    marker.unlink()

    def write(path, archive):
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {"network.conv_in.weight": Hostile(marker)}
        torch.save(state, path) if archive else path.write_bytes(pickle.dumps(state))
        return path

    return write, marker


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "model.safetensors", "run/clip/model.safetensors"])
@pytest.mark.parametrize("archive", [True, False])
def test_a_hostile_file_is_refused_and_not_executed(hostile, tiny_config, tmp_path, main_of, capfd, name, archive):
    write, marker = hostile
    path = write(tmp_path / "downloads" / name, archive)
    source = path.parents[1] if name.startswith("run") else path
    for dry in (["--dry-run"], []):
        assert main_of("train", "--config", tiny_config, *CLIP, *dry, f"clip.start_from={source}") == 2
        said = capfd.readouterr().err
        assert f"{path} is no safetensors file" in said and said.count("\n") == 1
    assert not marker.exists() and not (tmp_path / "run").exists()


def test_a_run_folder_with_pickles_only_has_no_network(hostile, tiny_config, tmp_path, main_of, capfd):
    write, marker = hostile
    write(tmp_path / "other" / "clip" / "pytorch_model.bin", archive=True)
    assert main_of("train", "--config", tiny_config, *CLIP, f"clip.start_from={tmp_path / 'other'}") == 2
    assert "has no finished network clip to start from (clip/model.safetensors); it has: none" in capfd.readouterr().err
    assert not marker.exists()


@pytest.fixture
def wrong(tmp_path, trained_run):
    """Files and folders that no network can start from, by name."""
    (tmp_path / "notes.json").write_text('{"a": 1}')
    (tmp_path / "empty.safetensors").touch()
    whole = (trained_run / "clip" / "model.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"conv.weight": torch.zeros(3, 3)}, tmp_path / "foreign.safetensors")
    spoilt = {name: tensor * float("nan") for name, tensor in load_file(trained_run / "clip/model.safetensors").items()}
    save_file(spoilt, tmp_path / "spoilt.safetensors")
    return lambda name: {"video": Path(__file__).parents[1] / "data/big_buck_bunny_trailer.mp4"}.get(
        name, tmp_path / name
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("video", "is no safetensors file, or damaged"),
        ("notes.json", "is no safetensors file, or damaged"),
        ("empty.safetensors", "is no safetensors file, or damaged"),
        ("half.safetensors", "is no safetensors file, or damaged"),
        ("foreign.safetensors", "fits the network clip (all names differ): give it the same channels"),
        ("spoilt.safetensors", "has weights that are not finite"),
        (".", "has no finished network clip to start from (clip/model.safetensors); it has: none"),
        ("nowhere", "is neither a folder nor a repository"),
    ],
)
def test_a_wrong_source_is_one_sentence_before_anything_starts(
    wrong, tiny_config, tmp_path, main_of, capfd, name, says
):
    assert main_of("train", "--config", tiny_config, *CLIP, f"clip.start_from={wrong(name)}") == 2
    said = capfd.readouterr().err
    assert says in said and said.count("\n") == 1, said
    assert not (tmp_path / "run").exists()


def test_a_network_of_another_size_is_refused_with_a_layer(trained_run, tiny_config, tmp_path, main_of, capfd):
    wider = ["clip.network.channels=16", f"clip.start_from={trained_run}"]
    assert main_of("train", "--config", tiny_config, *CLIP, *wider) == 2
    said = capfd.readouterr().err
    assert (
        "fits the network clip (network.embed.first.weight 32×32 there, 64×64 here)" in said and said.count("\n") == 1
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture
def hub(tmp_path, trained_run, monkeypatch):
    """A machine without a network, whose cache holds the repository lab/model."""
    folder = tmp_path / "cache" / "models--lab--model"
    vidboot.save_pretrained(vidboot.load(trained_run), folder / "snapshots" / "0123abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_repository_that_was_fetched_before_needs_no_network(hub, tiny_config, main_of, capfd):
    assert main_of("train", "--config", tiny_config, *CLIP, "--dry-run", "clip.start_from=lab/model") == 0
    assert "clip: starts from lab/model: " in " ".join(capfd.readouterr().out.split())


def test_without_a_network_a_repository_is_one_sentence(hub, tiny_config, main_of, capfd):
    assert main_of("train", "--config", tiny_config, *CLIP, "clip.start_from=lab/other") == 2
    said = capfd.readouterr().err
    assert "lab/other is neither here nor fetched before, and the hub can't be reached" in said
    assert said.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(trained_run, tiny_config, tmp_path, main_of, capfd):
    file = Path(shutil.copy(trained_run / "clip" / "model.safetensors", tmp_path / "mine.safetensors"))
    file.chmod(0)
    assert main_of("train", "--config", tiny_config, *CLIP, f"clip.start_from={file}") == 2
    said = capfd.readouterr().err
    assert "Permission denied" in said and said.count("\n") == 1
