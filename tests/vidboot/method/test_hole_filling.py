import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidboot.method.hole_filling import fill_hidden


def a_mask(shape, seed, share=0.7):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.floats(0, 1))
def test_known_pixels_stay_and_the_rest_lies_between_them_whatever_the_size(frames, height, width, seed, share):
    x0 = torch.randn(2, 3, frames, height, width, generator=torch.Generator().manual_seed(seed))
    known = a_mask((2, 1, frames, height, width), seed, share)
    filled = fill_hidden(torch.where(known, x0, torch.full_like(x0, float("nan"))), known)
    assert filled.shape == x0.shape and torch.isfinite(filled).all()
    assert torch.equal(torch.where(known, filled, 0.0), torch.where(known, x0, 0.0))
    for item in range(2):
        for frame in range(frames):
            seen, made = known[item, 0, frame], filled[item, :, frame]
            values = x0[item, :, frame, seen]
            if not seen.any():
                assert not made.any()
                continue
            low, high = values.min(1).values, values.max(1).values
            assert (made >= low[:, None, None] - 1e-5).all() and (made <= high[:, None, None] + 1e-5).all()


def test_each_frame_and_channel_is_filled_from_itself():
    levels = torch.randn(2, 3, 5, 1, 1)
    x0, known = levels.expand(2, 3, 5, 24, 20), a_mask((2, 1, 5, 24, 20), 0, 0.2)
    filled = fill_hidden(torch.where(known, x0, 9.0), known)
    torch.testing.assert_close(filled, x0, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, -2])
def test_a_hole_in_a_slope_is_filled_near_the_slope(axis):
    slope = torch.linspace(-1, 1, 32).expand(1, 3, 2, 32, 32)
    slope = slope if axis == -1 else slope.mT
    known = torch.ones(1, 1, 2, 32, 32, dtype=torch.bool)
    known[..., 12:18, 10:22] = False
    error, of_grey = ((filled - slope).abs()[..., 12:18, 10:22] for filled in (fill_hidden(slope, known), 0.0))
    assert error.max() < 0.2 and error.mean() < of_grey.mean() / 2
