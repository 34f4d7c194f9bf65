"""The design's table to the printed digits, and the two claims on a smaller scale."""

import numpy as np
import pytest

from vidboot.experiments.gaussian.experiments import data_efficiency, overlap_trade, residual_hardness, rule_table

PRINTED = {
    0.3: ["33", "7.6", "3.8", "0.20", "0.19"],
    1.0: ["160", "20", "11", "6.4", "5.0"],
    # The design prints 7.8 for the counting numbers at σ = 3: 7.7456 rounded twice. Rounded once it is 7.7.
    3.0: ["618", "29", "21", "18", "7.7"],
    10.0: ["3619", "21", "18", "15", "1.7"],
}


def as_printed(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


def test_the_table_comes_out_to_the_printed_digits():
    names = ["plain sum of views", "disjoint clips", "averaged windows", "windows − overlaps", "counting numbers"]
    for row in rule_table():
        printed = PRINTED[row["sigma"]]
        assert [as_printed(row[name], like) for name, like in zip(names, printed, strict=True)] == printed
        if row["sigma"] == 3.0:
            assert row["counting numbers"] == pytest.approx(7.7456, abs=1e-4)


def test_base_and_residual_need_far_fewer_videos():
    rows = data_efficiency(seed=0, counts=(16, 256, 1024), draws=1)
    times = {row["sigma"]: row["mean_direct"] / row["mean_residual"] for row in rows if row["count"] == 16}
    assert times[0.3] >= 100
    assert times[1.0] >= 20
    assert times[3.0] >= 4
    for row in rows:
        assert row["mean_residual"] <= 1.05 * row["mean_direct"]
        assert row["ratio"] >= 1
    assert all(row["ratio_is_lower_bound"] for row in rows if row["sigma"] == 0.3)


def test_the_residual_leaves_more_where_the_views_miss_more():
    result = residual_hardness(seed=0, long_ranges=(0.0, 0.3, 0.6), couplings=(0.0,), sigmas=(1.0,), draws=1)
    base, residual = np.array([[row["base"], row["residual"]] for row in result["rows"]]).T
    assert (np.diff(base) > 0).all()
    assert (np.diff(residual) > 0).all()
    fit = result["fits"][0]
    slope, offset = np.polyfit(base, residual, 1)
    assert fit["slope"] == pytest.approx(slope)
    explained = 1 - ((residual - slope * base - offset) ** 2).sum() / ((residual - residual.mean()) ** 2).sum()
    assert fit["r2"] == pytest.approx(explained)


def test_smaller_overlaps_lose_almost_nothing_at_low_noise():
    rows = {row["overlap"]: row for row in overlap_trade(overlaps=(2, 4), sigmas=(0.1, 0.2, 3.0))}
    assert rows[2]["clip_cost"] == 1.5  # five windows of 8 and four overlaps of 2, over 32 frames
    assert rows[4]["clip_cost"] == 2.5
    assert rows[2]["excess"]["0.1"] - rows[4]["excess"]["0.1"] < 0.01
    assert rows[2]["excess"]["3.0"] - rows[4]["excess"]["3.0"] > 1
