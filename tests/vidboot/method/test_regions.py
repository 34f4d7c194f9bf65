"""The region graph counts every degree of freedom once, for random sets of views."""

import itertools

import pytest
import torch
from explicit_matrices import gain_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from vidboot.method.regions import Region, ViewPlan, low_resolution, region_graph, windows
from vidboot.method.views import View

HEIGHT, WIDTH = 4, 12


@st.composite
def view_sets(draw) -> tuple[int, list[View]]:
    """Windows of any length and overlap (lengths that don't divide included), strided frames, up to three scales."""
    num_frames = draw(st.integers(1, 11))
    length = draw(st.integers(1, 8))
    chosen = windows(num_frames, length, draw(st.integers(0, length - 1)))
    scales = draw(st.lists(st.sampled_from([2, 4]), max_size=2, unique=True))
    chosen += low_resolution(num_frames, scales)
    for scale in [1, *scales]:
        if draw(st.booleans()):
            chosen.append(View(range(0, num_frames, draw(st.integers(1, 5))), scale))
        if draw(st.booleans()):
            length = draw(st.integers(1, 8))
            chosen += windows(num_frames, length, draw(st.integers(0, length - 1)), scale)
    return num_frames, chosen


@settings(max_examples=80, deadline=None)
@given(view_sets())
def test_every_degree_of_freedom_counts_once(drawn):
    num_frames, chosen = drawn
    regions = region_graph(chosen)
    identity = torch.eye(num_frames * HEIGHT * WIDTH, dtype=torch.float64)
    assert (gain_matrix(regions, num_frames, HEIGHT, WIDTH) - identity).abs().max() < 1e-10
    assert all(region.count != 0 for region in regions)


def test_scales_of_which_neither_divides_the_other():
    regions = region_graph([*windows(5, 3, 1), *low_resolution(5, [2, 3])])
    assert (gain_matrix(regions, 5, 6, 6) - torch.eye(5 * 36, dtype=torch.float64)).abs().max() < 1e-10
    assert Region(View(range(5), 6), -1) in regions  # the two low-res views share the factor 6


def test_windows_count_one_and_overlaps_minus_one():
    regions = region_graph(windows(10, 4, 1))
    assert {(region.view.frames, region.count) for region in regions} == {
        ((0, 1, 2, 3), 1),
        ((3, 4, 5, 6), 1),
        ((6, 7, 8, 9), 1),
        ((3,), -1),
        ((6,), -1),
    }


def test_a_low_resolution_view_replaces_the_clips_view_of_it():
    counts = {(r.view.scale, r.view.num_frames): r.count for r in region_graph([*windows(6, 4, 2), View(range(6), 2)])}
    assert counts == {(1, 4): 1, (1, 2): -1, (2, 6): 1, (2, 4): -1, (2, 2): 1}


def test_a_view_inside_another_one_counts_for_nothing():
    assert region_graph([View(range(4)), View(range(2)), View([1, 3], 2)]) == [Region(View(range(4)), 1)]


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_windows_cover_every_frame_and_keep_their_length(num_frames, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    views = windows(num_frames, length, overlap)
    assert {t for view in views for t in view.frames} == set(range(num_frames))
    assert {view.num_frames for view in views} == {min(length, num_frames)}
    shared = [len(set(a.frames) & set(b.frames)) for a, b in itertools.pairwise(views)]
    assert all(n == overlap for n in shared[:-1])
    assert all(n >= overlap for n in shared[-1:])  # the last window is shifted in


def test_an_overlap_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="can't overlap by 8"):
        windows(20, 8, 8)
    with pytest.raises(ValueError, match="can't overlap by -1"):
        ViewPlan(8, -1)


def test_a_plan_refuses_factors_that_do_not_nest():
    with pytest.raises(ValueError, match="each dividing the next"):
        ViewPlan(8, 4, (2, 3))
    with pytest.raises(ValueError, match="each dividing the next"):
        ViewPlan(8, 4, (1, 2))


def test_a_plan_has_the_regions_of_its_views():
    plan = ViewPlan(4, 2, (2,))
    expected = region_graph([*windows(9, 4, 2), View(range(9), 2)])
    assert plan.regions(9) == expected
