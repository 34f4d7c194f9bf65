"""The whole way with input, output and run behind an S3 server on this machine: preprocess, train, generate."""

import json
import shutil

import pytest
from bucket import s3_bucket
from footage import titled_films
from safetensors.torch import load_file

SIZE = ["height=8", "width=16", "views.clip_frames=4", "views.full_frames=12", "workers=1", "text.detector=opencv"]
CONFIG = """
run_dir: {run_dir}
data: {{ manifest: s3://store/data, holdout: 0.35, num_workers: 2 }}
video: {{ num_frames: 12, height: 8, width: 16, overlap: 4 }}
clip:
  num_frames: 4
  overlap: 2
  network: {{ channels: 8, multipliers: [1, 2] }}
  train: {{ steps: 4, batch_size: 4, warmup_steps: 2 }}
calibration: null
residual: null
evaluation: {{ sigmas: [0.5], num_videos: 1 }}
"""


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDBOOT_CACHE", str(tmp_path / "cache"))
    with s3_bucket(monkeypatch, "store") as client:
        yield client


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(run_dir=tmp_path / "run"))
    return path


@pytest.mark.slow
def test_videos_shots_and_runs_may_be_in_a_bucket(bucket, tool, config, tmp_path):
    def done(name, *words):
        ended = tool(name, *words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    for film in titled_films(tmp_path / "films", 4):
        bucket.put_file(str(film), f"store/films/{film.name}")
    said = done("preprocess", "s3://store/films", "--output", "s3://store/data", *SIZE)
    assert "manifest: s3://store/data/manifest.parquet" in said
    shutil.rmtree(tmp_path / "cache")  # another machine
    done("train", "--config", config)
    bucket.get("store/data/", f"{tmp_path / 'copy'}/", recursive=True)
    done("train", "--config", config, f"data.manifest={tmp_path / 'copy'}", f"run_dir={tmp_path / 'other'}")
    far, here = (load_file(tmp_path / run / "clip" / "model.safetensors") for run in ("run", "other"))
    assert all((far[name] == here[name]).all() for name in far)
    bucket.put(f"{tmp_path / 'run'}/", "store/run", recursive=True)
    for run, output in (("s3://store/run", "s3://store/made/v.mp4"), (tmp_path / "run", tmp_path / "v.mp4")):
        assert str(output) in done("generate", "--run", run, "--frames", 16, "--steps", 2, "--output", output)
    assert bucket.cat_file("store/made/v.mp4") == (tmp_path / "v.mp4").read_bytes()
    far, here = json.loads(bucket.cat_file("store/made/v.json")), json.loads((tmp_path / "v.json").read_text())
    assert far["weights"] == here["weights"] and far["output"] == "s3://store/made/v.mp4"
    assert "--output s3://store/made/v.mp4" in far["command"] and not list((tmp_path / "cache").rglob("v.*"))


def test_results_of_a_training_at_a_url_are_refused(main_of, config, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr("vidboot.training.run.run_split", lambda config: None)
    monkeypatch.setattr("vidboot.training.run.check_run", lambda config, split, only: None)
    monkeypatch.chdir(tmp_path)
    assert main_of("train", "--config", config, "run_dir=s3://store/run") == 2
    assert "no results are written to s3://store/run: give a folder of this machine" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
