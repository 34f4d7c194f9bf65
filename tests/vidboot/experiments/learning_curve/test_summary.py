import json
from pathlib import Path

import pytest

from vidboot.experiments.gaussian.experiments import videos_needed
from vidboot.experiments.learning_curve.rows import AMBIENT, BASE, DIRECT, FINE_TUNED, FORCING, MSM, UNTUNED, WHOLE
from vidboot.experiments.learning_curve.summary import (
    data_efficiency_ratio,
    errors_by_row,
    plot,
    ratios_by_rival,
    table,
)

COUNTS = [4, 16, 64, 256]


def power_law(scale, slope):
    return {n: [scale * n**-slope] for n in COUNTS}


def test_the_ratio_of_two_power_laws_has_its_closed_form():
    """Rivals err c m^-s, the whole b n^-r: they are equal at m = (c n^r / b)^(1/s)."""
    c, s, b, r = 1.0, 0.3, 0.8, 0.25
    errors = {DIRECT: power_law(2 * c, s), FINE_TUNED: power_law(c, s), WHOLE: power_law(b, r)}
    ratios = data_efficiency_ratio(errors, COUNTS)
    for n in (4, 16, 64):
        assert ratios[n] == (pytest.approx((c * n**r / b) ** (1 / s) / n), "=")


def test_what_no_rival_reaches_is_a_lower_bound_and_what_all_do_an_upper_one():
    errors = {DIRECT: power_law(1, 0.2), WHOLE: {n: [0.1] for n in COUNTS}}
    assert data_efficiency_ratio(errors, COUNTS)[16] == (16.0, ">")
    errors[WHOLE] = {n: [2.0] for n in COUNTS}
    assert data_efficiency_ratio(errors, COUNTS)[16] == (0.25, "<")


def test_an_untuned_rival_needs_no_video_and_the_base_is_no_rival():
    errors = {DIRECT: power_law(1, 0.1), UNTUNED: {0: [0.5]}, BASE: power_law(0.01, 1), WHOLE: power_law(0.9, 0.1)}
    assert data_efficiency_ratio(errors, COUNTS)[64] == (4 / 64, "<")


def test_seeds_are_averaged():
    rows = [{"row": DIRECT, "count": 4, "error": 0.2}, {"row": DIRECT, "count": 4, "error": 0.4}]
    assert errors_by_row(rows)[DIRECT][4] == [0.2, 0.4]


def test_a_curve_that_rises_in_between_counts_where_it_first_is_low_enough():
    assert videos_needed([1, 10, 100, 1000], [1.0, 0.1, 0.5, 0.01], 0.1) == (pytest.approx(10), "=")


def test_against_one_rival_alone_the_ratio_is_its_own():
    errors = {DIRECT: power_law(2, 0.3), FINE_TUNED: power_law(1, 0.3), UNTUNED: {0: [5.0]}, WHOLE: power_law(0.9, 0.3)}
    of_rival = ratios_by_rival(errors, COUNTS)
    assert set(of_rival) == {DIRECT, FINE_TUNED}
    assert of_rival[FINE_TUNED][4] == (pytest.approx((1 / 0.9) ** (1 / 0.3)), "=")
    assert of_rival[DIRECT][4] == (pytest.approx((2 / 0.9) ** (1 / 0.3)), "=")
    assert of_rival[DIRECT][64] == (4.0, ">")
    assert of_rival[FINE_TUNED] == data_efficiency_ratio(errors, COUNTS)


def test_what_is_not_measured_yet_is_left_out():
    part = {n: error for n, error in power_law(1, 0.3).items() if n != 64}
    errors = {DIRECT: part, FINE_TUNED: power_law(2, 0.3), WHOLE: {16: [0.9 * 16**-0.3]}}
    ratio, bound = data_efficiency_ratio(errors, COUNTS)[16]
    assert set(data_efficiency_ratio(errors, COUNTS)) == {16} and bound == "="
    # Of the better rival 64 is missing: there its line goes on from 16 to 256, and the worse one's error is not taken.
    assert ratio == pytest.approx((1 / 0.9) ** (1 / 0.3), rel=1e-6)
    shown = table(errors, COUNTS, data_efficiency_ratio(errors, COUNTS))
    columns = [list(column.cells) for column in shown.columns]
    assert columns[3][0] == "–"
    assert [column[columns[0].index("data-efficiency ratio")] for column in columns[1:]] == [
        "–",
        f"{ratio:.2g}",
        "–",
        "–",
    ]
    assert plot(errors, COUNTS).axes[0].get_lines()[0].get_xdata().tolist() == [4, 16, 256]
    assert data_efficiency_ratio(errors_by_row([]), COUNTS) == {}


@pytest.mark.parametrize(
    "path", sorted(Path("docs/results").glob("*/learning_curve.json")), ids=lambda p: p.parent.name
)
def test_curves_of_before_are_still_shown_with_their_ratios(path):
    stored = json.loads(path.read_text())
    errors, counts = errors_by_row(stored["rows"]), stored["counts"]
    ratios = data_efficiency_ratio(errors, counts)
    assert {str(n): pytest.approx(ratio) for n, (ratio, _) in ratios.items()} == stored["data_efficiency_ratio"]
    shown = [*table(errors, counts, ratios).columns[0].cells]
    assert set(errors) <= set(shown)
    assert len(plot(errors, counts).axes[0].get_lines()) >= len(errors) - 1


def test_published_rivals_count_as_rivals_and_are_shown():
    """One that learns from full videos, and one that needs none."""
    errors = {
        DIRECT: power_law(2, 0.3),
        AMBIENT: power_law(1, 0.3),
        FORCING: power_law(3, 0.3),
        MSM: {0: [0.95 * 256**-0.3]},
        WHOLE: power_law(0.9, 0.3),
    }
    by_rival = ratios_by_rival(errors, COUNTS)
    assert set(by_rival) == {DIRECT, AMBIENT, FORCING}
    ratios = data_efficiency_ratio(errors, COUNTS)
    assert ratios[4] == (1.0, "<")  # what needs no video is nearly as good with 256
    del errors[MSM]
    assert data_efficiency_ratio(errors, COUNTS) == by_rival[AMBIENT]
    errors[MSM] = {0: [0.5]}
    assert {AMBIENT, FORCING, MSM} <= set(table(errors, COUNTS, ratios).columns[0].cells)
    labels = {line.get_label() for line in plot(errors, COUNTS).axes[0].get_lines()}
    assert {AMBIENT, FORCING, MSM} <= labels
