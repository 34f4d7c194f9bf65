"""Views are linear isometries, checked against explicit matrices (Kronecker products of frame choice and pooling)."""

import pytest
import torch
from explicit_matrices import random, view_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from vidboot.method.views import View

SIZE = 12  # divided by 1, 2, 3, 4, 6, 12


@st.composite
def views(draw, num_frames: int = 7, scales: tuple[int, ...] = (1, 2, 3, 4)) -> View:
    frames = draw(st.sets(st.integers(0, num_frames - 1), min_size=1))
    return View(sorted(frames), draw(st.sampled_from(scales)))


@settings(max_examples=60, deadline=None)
@given(view=views(), seed=st.integers(0, 2**31))
def test_lift_is_the_adjoint_of_project_and_the_rows_are_orthonormal(view, seed):
    x = random((2, 3, 7, SIZE, SIZE), seed)
    y = random((2, 3, view.num_frames, SIZE // view.scale, SIZE // view.scale), seed + 1)
    inner_low, inner_full = (view.project(x) * y).sum(), (x * view.lift(y, 7)).sum()
    assert abs(inner_low - inner_full) < 1e-10
    assert (view.project(view.lift(y, 7)) - y).abs().max() < 1e-10


@settings(max_examples=30, deadline=None)
@given(view=views(), seed=st.integers(0, 2**31))
def test_a_view_is_its_matrix(view, seed):
    a = view_matrix(view, 7, SIZE, SIZE)
    x = random((2, 1, 7, SIZE, SIZE), seed)
    y = view.project(x)
    assert (y.flatten(1) - x.flatten(1) @ a.T).abs().max() < 1e-10
    assert (view.lift(y, 7).flatten(1) - y.flatten(1) @ a).abs().max() < 1e-10
    assert (a @ a.T - torch.eye(len(a), dtype=torch.float64)).abs().max() < 1e-10


@settings(max_examples=30, deadline=None)
@given(inner=views(scales=(1, 2)), data=st.data(), seed=st.integers(0, 2**31))
def test_the_view_of_a_view(inner, data, seed):
    outer = data.draw(views(num_frames=inner.num_frames, scales=(1, 2, 3)))
    x = random((1, 2, 7, SIZE, SIZE), seed)
    assert torch.allclose((outer @ inner).project(x), outer.project(inner.project(x)), atol=1e-12)


def test_a_low_resolution_view_is_r_times_the_mean():
    x = torch.full((1, 1, 2, 4, 4), 0.25)
    assert torch.equal(View(range(2), 4).project(x), torch.ones(1, 1, 2, 1, 1))


def test_views_are_values():
    assert View([0, 2, 4]) == View((0, 2, 4), 1)
    assert len({View(range(4)), View([0, 1, 2, 3]), View(range(4), 2)}) == 2


@pytest.mark.parametrize("frames", [[], [1, 0], [2, 2], [-1, 0]])
def test_frames_must_ascend_from_zero(frames):
    with pytest.raises(ValueError, match="ascending distinct"):
        View(frames)


def test_what_does_not_fit_is_refused():
    x = torch.zeros(1, 1, 4, 6, 6)
    with pytest.raises(ValueError, match="needs frame 4"):
        View([4]).project(x)
    with pytest.raises(ValueError, match="factor of 4 does not divide 6×6"):
        View([0], 4).project(x)
    with pytest.raises(ValueError, match="integer factor"):
        View([0], 0)
    with pytest.raises(ValueError, match="inner one has 2"):
        View([3]) @ View([0, 1])
