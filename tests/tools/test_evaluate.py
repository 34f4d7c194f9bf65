import csv
import html
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def evaluate(*arguments):
    command = [sys.executable, str(ROOT / "tools/evaluate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_help_names_the_evaluations():
    result = evaluate("--help")
    assert result.returncode == 0
    assert "theory" in result.stdout


def test_mistakes_are_messages_and_not_tracebacks():
    for arguments, message in [
        ([], "WHAT"),
        (["theory"], "--output"),
        (["theroy"], "invalid choice"),
        (["theory", "--output", "x", "--seed", "one"], "invalid int"),
    ]:
        result = evaluate(*arguments)
        assert result.returncode == 2
        assert message in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_theory_is_the_same_for_the_same_seed_and_its_claims_hold(tmp_path):
    for name in ("first", "second"):
        result = evaluate("theory", "--output", tmp_path / name, "--seed", 5)
        assert result.returncode == 0, result.stderr
        assert str(tmp_path / name / "index.html") in result.stdout
    first, second = ((tmp_path / name / "theory.json").read_bytes() for name in ("first", "second"))
    assert first == second
    assert all(finding["holds"] is not False for finding in json.loads(first)["findings"])


def test_the_report_of_a_run_agrees_with_the_table_of_its_training(trained_run, manifest_dir, tmp_path):
    arguments = ["--run", trained_run, "--data", manifest_dir, "--output", tmp_path, "--samples", 2, "--steps", 2]
    result = evaluate("run", *arguments)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "evaluation.json").read_text())
    table = json.loads((trained_run / "results.json").read_text())
    for name in ("base", "base + residual"):
        means = [level["mean"] for level in report["denoising"][name]]
        assert means == pytest.approx(table["rows"][name]["trained"], rel=1e-4)
        # One held-out shot has no interval.
        low_high = [(level["low"], level["high"]) for level in report["denoising"][name]]
        several = report["test_shots"] > 1
        assert all(
            0 < low <= mean <= high if several else low is high is None
            for (low, high), mean in zip(low_high, means, strict=True)
        )
    # Lags within and beyond clips of 4 frames; videos of 12 frames have no lag of 12.
    assert list(report["statistics"]["base"]["autocorrelation_error"]) == ["1", "2", "3", "6"]
    assert all(ratio["mean"] > 0 for ratio in report["denoising_ratio"]["base + residual"])
    distance = report["statistics"]["base"]["frechet_distance"]  # of two videos, which can't tell
    assert distance["mean"] is None and not distance["shown"] and distance["sentence"] in result.stdout
    copies = report["copies"]["base"]
    assert len(copies["samples"]) == 2 and copies["sentence"] in result.stdout
    shots = json.loads((trained_run / "split.json").read_text())["train"]
    assert {window["shot"] for sample in copies["samples"] for window in sample["windows"]} <= set(shots)
    assert report["protocol"]["features"] in result.stdout
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:video/mp4") >= 8 and page.count("data:image/png") == 2
    assert distance["sentence"] in html.unescape(page) and "Copied or made?" in page
    with (tmp_path / "evaluation.csv").open(newline="") as file:
        rows = {(row["of"], row["quantity"], row["at"]): row for row in csv.DictReader(file)}
    error = report["denoising"]["base"][0]
    line = rows["base", "denoising error", f"sigma={report['sigmas'][0]:g}"]
    told = [float(line[key]) if line[key] else None for key in ("value", "low", "high")]
    assert told == [error["mean"], error["low"], error["high"]]
    assert rows["base", "Fréchet distance", ""]["value"] == ""
    assert (
        float(rows["base + residual", "motion", ""]["value"])
        == report["statistics"]["base + residual"]["motion"]["mean"]
    )


CURVE = """
output: {output}
counts: [1, 2]
seeds: [1, 1]
rates: [1.0e-3]
stopping_points: 2
samples: 1
test_videos: 2
run:
  run_dir: {output}/views
  data: {{ manifest: {manifest}, holdout: 0.35, num_workers: 0 }}
"""


@pytest.fixture
def curve_config(tiny_config, manifest_dir, tmp_path):
    """Settings of a curve on the trailer that takes seconds."""
    rest = [line for line in tiny_config.read_text().splitlines() if not line.startswith(("run_dir", "data"))]
    path = tmp_path / "curve.yaml"
    text = CURVE.format(output=tmp_path / "curve", manifest=manifest_dir)
    path.write_text(text + "\n".join(f"  {line}" for line in rest))
    return path


def test_a_killed_curve_goes_on_and_two_processes_share_it(curve_config, tmp_path):
    command = [sys.executable, str(ROOT / "tools/evaluate.py"), "learning-curve", "--config", str(curve_config)]
    cells = tmp_path / "curve" / "cells"
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while first.poll() is None and not list(cells.glob("fixed-*.json")):
        time.sleep(0.02)
    first.kill()
    first.wait()
    done = {path.name: path.read_bytes() for path in cells.glob("*.json")}
    assert 0 < len(done) < 20
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=900)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert all((cells / name).read_bytes() == content for name, content in done.items())
    # Six networks or rows of partial data (views, joint, two rivals; fixed, msm), and seven methods at two counts.
    assert len(list(cells.glob("*.json"))) == 20
    curve = json.loads((tmp_path / "curve" / "learning_curve.json").read_text())
    assert len({row["row"] for row in curve["rows"]}) == 14 and set(curve["data_efficiency_ratio"]) == {"1", "2"}
    assert all(row["error"] > 0 for row in curve["rows"])
    assert "data-efficiency ratio" in said[0] and "autocorrelation" in said[0]
    measured = {row["row"] for row in curve["rows"] if "autocorrelation_error" in row}
    assert len(measured) == 5  # both windows, the base counted and calibrated, base + residual


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--run", "RUN", "--data", "DATA", "--output", "FILE"],
        ["run", "--run", "RUN", "--data", "DATA", "--output", "FILE/below"],
        ["theory", "--output", "FILE"],
        ["learning-curve", "--config", "CURVE", "output=FILE"],
    ],
)
def test_a_file_in_place_of_the_output_folder_is_refused_before_anything_is_measured(
    arguments, trained_run, manifest_dir, curve_config, tmp_path
):
    (tmp_path / "file").write_text("")
    words = {"RUN": trained_run, "DATA": manifest_dir, "CURVE": curve_config, "FILE": tmp_path / "file"}
    for word, value in words.items():
        arguments = [argument.replace(word, str(value)) for argument in arguments]
    result = evaluate(*arguments)
    assert result.returncode == 2
    assert "can't be made" in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_curve_needs_as_many_full_videos_as_it_counts_up_to(curve_config):
    result = evaluate("learning-curve", "--config", curve_config, "counts=[1,500]")
    assert result.returncode == 2
    assert "500 full videos" in result.stderr and "Traceback" not in result.stderr
