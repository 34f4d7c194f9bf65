"""The report says what the numbers say."""

import json
from html.parser import HTMLParser

import pytest
from made_up import theory as results
from PIL import Image

from vidboot.experiments.gaussian.report import findings, write_report


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
