"""The report says what the numbers say."""

import json
from html.parser import HTMLParser

import pytest
from PIL import Image

from vidboot.experiments.gaussian.report import findings, write_report


def results(residual: float = 1.0) -> dict:
    """Made-up numbers in the shape of a run's, in which direct training has an excess of 50 at 16 full videos."""
    rows = []
    for sigma in (0.3, 1.0):
        for count, direct in ((16, 50.0), (64, 10.0)):
            both = {"direct": [direct], "residual": [residual], "mean_direct": direct, "mean_residual": residual}
            ratios = {"ratio": 64 / count, "ratio_is_lower_bound": sigma == 0.3}
            rows.append({"sigma": sigma, "count": count, "base": 2.0} | both | ratios)
    laws = [
        {"sigma": 1.0, "long_range": 0.1 * i, "coupling": 0.0, "count": 64, "base": 1.0 + i, "residual": 0.5 + i}
        for i in range(3)
    ]
    fit = {"sigma": 1.0, "slope": 0.5, "r2": 0.9, "log_slope": 0.7, "log_r2": 0.8}
    excess = {"0.1": 0.01, "1.0": 5.0}
    return {
        "seed": 3,
        "rules": [{"sigma": 1.0, "disjoint clips": 20.28, "counting numbers": 5.004}],
        "overlaps": [
            {"overlap": overlap, "clip_cost": 1 + overlap / 4, "cost": 1 + overlap / 4, "excess": excess}
            for overlap in (0, 2, 4)
        ],
        "calibration": [{"sigma": 1.0, "joined@1": 6.0, "whole@1": 7.0, "calibrated": 5.5}],
        "data_efficiency": rows,
        "residual_hardness": {"rows": laws, "fits": [fit]},
    }


def test_it_writes_numbers_plots_and_a_page(tmp_path):
    page = write_report(tmp_path / "new", results())
    assert json.loads((page.parent / "theory.json").read_text())["rules"] == results()["rules"]
    pictures = []

    class Pictures(HTMLParser):
        def handle_starttag(self, tag, attributes):
            pictures.extend(value for name, value in attributes if tag == "img" and name == "src")

    Pictures().feed(page.read_text())
    assert len(pictures) == 3
    for name in pictures:
        assert Image.open(page.parent / name).size[0] > 300
    assert not [path for path in page.parent.iterdir() if path.name.startswith(".")]
    text = page.read_text()
    assert "Seed 3" in text
    assert "20.3" in text
    assert "&gt; 4" in text  # a lower bound is marked as one


def test_a_claim_that_fails_is_reported_as_failed():
    # First the comparison at every number of videos, then the gain at 16 for each noise level.
    assert [f["holds"] for f in findings(results(residual=0.2))[:3]] == [True, True, True]
    # 50 / 1 is less than the 100 × asked for at σ = 0.3, enough for the 20 × at σ = 1.
    assert [f["holds"] for f in findings(results(residual=1.0))[:3]] == [True, False, True]
    assert not findings(results(residual=11.0))[0]["holds"]


def test_the_calibration_is_compared_with_the_best_rule():
    (text,) = [f["text"] for f in findings(results()) if f["text"].startswith("Calibrated")]
    assert "5.50 against 6.00 at σ = 1" in text


@pytest.mark.parametrize("learnt", [0, 3])
def test_it_says_how_often_the_residual_learnt_anything(learnt):
    drawn = results()
    for row in drawn["residual_hardness"]["rows"]:
        row["residual"] = row["base"] * (0.5 if learnt else 1.0)
    (text,) = [f["text"] for f in findings(drawn) if "straight line" in f["text"]]
    assert f"under {learnt} of 3 laws" in text
