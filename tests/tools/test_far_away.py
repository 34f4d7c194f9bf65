"""The whole way with input, output and run behind an S3 server on this machine: preprocess, train, generate."""

import json
import shutil
from pathlib import Path

import pytest
from bucket import s3_bucket
from safetensors.torch import load_file

FOOTAGE = Path(__file__).parents[1] / "data" / "big_buck_bunny_trailer.mp4"
# As the fixture `manifest_dir` is made.
SETTINGS = ["height=8", "width=16", "views.clip_frames=4", "views.full_frames=12", "workers=1"]


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDBOOT_CACHE", str(tmp_path / "cache"))
    with s3_bucket(monkeypatch, "store") as client:
        yield client


@pytest.mark.slow
def test_videos_shots_and_runs_may_be_in_a_bucket(bucket, tool, tiny_config, tmp_path):
    bucket.put_file(str(FOOTAGE), "store/films/trailer.mp4")
    done = tool("preprocess", "s3://store/films", "--output", "s3://store/data", *SETTINGS)
    assert done.returncode == 0 and "manifest: s3://store/data/manifest.parquet" in done.stdout, done.stderr
    shutil.rmtree(tmp_path / "cache")  # another machine
    words = ["--config", tiny_config, "data.num_workers=2"]
    done = tool("train", *words, "data.manifest=s3://store/data")
    assert done.returncode == 0, done.stderr
    bucket.get("store/data/", f"{tmp_path / 'copy'}/", recursive=True)
    done = tool(
        "train", *words, f"data.manifest={tmp_path / 'copy'}", f"run_dir={tmp_path / 'here'}", "--stage", "clip"
    )
    assert done.returncode == 0, done.stderr
    far, here = (load_file(tmp_path / run / "clip" / "model.safetensors") for run in ("run", "here"))
    assert all((far[name] == here[name]).all() for name in far)
    bucket.put(f"{tmp_path / 'run'}/", "store/run", recursive=True)
    for run, output in (("s3://store/run", "s3://store/made/v.mp4"), (tmp_path / "run", tmp_path / "here.mp4")):
        done = tool("generate", "--run", run, "--frames", 16, "--steps", 2, "--output", output)
        assert done.returncode == 0 and str(output) in done.stdout, done.stderr
    assert bucket.cat_file("store/made/v.mp4") == (tmp_path / "here.mp4").read_bytes()
    far, here = (
        json.loads(text) for text in (bucket.cat_file("store/made/v.json"), (tmp_path / "here.json").read_text())
    )
    assert far["weights"] == here["weights"] and far["output"] == "s3://store/made/v.mp4"
    assert "--output s3://store/made/v.mp4" in far["command"] and not list((tmp_path / "cache").rglob("v.*"))
    assert (
        sorted(path.name for path in Path().iterdir() if path.name.endswith(":")) == []
    )  # no URL was taken for a path


def test_what_is_not_written_to_a_url_is_refused(main_of, tiny_config, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    assert main_of("train", "--config", tiny_config, "run_dir=s3://store/run") == 2
    assert "no results are written to s3://store/run: give a folder of this machine" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
