import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from vidboot.method.composition import ResidualDenoiser
from vidboot.method.gate import Gate, GateFit


def fit_to(a, b):
    """A fit to videos of one pixel, whose inner products are `a` and squared differences `b`."""
    fit = GateFit([1.0], len(a))
    for n, (inner, norm) in enumerate(zip(a, b, strict=True)):
        step = torch.full((1, 1, 1, 1, 1), norm**0.5, dtype=torch.float64)
        fit.add(n, 1.0, torch.zeros_like(step), step, inner / step)
    return fit


def test_the_gate_is_the_ratio_less_the_standard_error_that_the_jackknife_gives():
    rng = np.random.default_rng(0)
    b = rng.uniform(0.99, 1.01, 400)
    a = 0.5 * b + rng.normal(0, 0.3, 400)
    left_out = (a.sum() - a) / (b.sum() - b)
    error = np.sqrt(399 / 400 * ((left_out - left_out.mean()) ** 2).sum())
    assert fit_to(a, b).gate().values[0] == pytest.approx(a.sum() / b.sum() - error, rel=1e-4)


def test_videos_that_disagree_close_the_gate():
    assert fit_to([0.9, -0.4, 0.1, 0.2], [1.0] * 4).gate().values == (0.0,)
    assert fit_to([0.9, 0.8, 0.9, 0.8], [1.0] * 4).gate().values[0] == pytest.approx(0.85 - 0.05 / 3**0.5)


def test_the_gate_minimises_the_error():
    generator = torch.Generator().manual_seed(0)
    x0, base, network = (torch.randn(1, 3, 2, 4, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    network = 0.6 * x0 + 0.4 * base + 0.3 * network
    fit = GateFit([1.0], 4)
    for n in range(4):  # videos that agree: nothing to take off
        fit.add(n, 1.0, base, network, x0)
    found = minimize_scalar(lambda g: float(((base + g * (network - base) - x0) ** 2).sum()), bounds=(0, 1))
    assert fit.gate().values[0] == pytest.approx(found.x, abs=1e-5)


def test_each_video_is_judged_by_the_gate_that_the_others_give():
    """Against predictions that are gated and measured one by one, for every video left out."""
    generator = torch.Generator().manual_seed(1)
    videos, sigmas = 5, [0.5, 2.0]
    shape = (len(sigmas), videos, 1, 3, 2, 4, 4)
    x0 = torch.randn(shape, generator=generator, dtype=torch.float64)
    base = x0 + 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    network = base + 1.8 * (x0 - base) + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)

    def fit_of(numbers):
        fit = GateFit(sigmas, len(numbers))
        for place, n in enumerate(numbers):
            for s, sigma in enumerate(sigmas):
                fit.add(place, sigma, base[s, n], network[s, n], x0[s, n])
        return fit

    found = fit_of(range(videos)).cross_fitted()
    for n in range(videos):
        gate = fit_of([other for other in range(videos) if other != n]).gate()
        for s, gamma in enumerate(gate.values):
            assert 0.3 < gamma < 0.7
            error = ((torch.lerp(base[s, n], network[s, n], gamma) - x0[s, n]) ** 2).mean()
            assert found[s, n].item() == pytest.approx(error.item(), rel=1e-10)


def test_a_single_video_has_no_others_to_be_judged_by():
    fit = fit_to([0.5], [1.0])
    assert fit.gate().values == (0.5,)
    torch.testing.assert_close(fit.cross_fitted(), fit.errors(torch.tensor([0.5], dtype=torch.float64)))


def test_the_gate_stays_within_zero_and_one():
    x0, base = torch.ones(1, 1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    fit = GateFit([0.5, 1.0, 2.0], 1)
    fit.add(0, 0.5, base, -x0, x0)  # away from the truth
    fit.add(0, 1.0, base, 0.5 * x0, x0)  # half way to it
    fit.add(0, 2.0, base, base, x0)  # no difference
    assert fit.gate().values == (0.0, 1.0, 0.0)


def test_interpolation_over_log_sigma():
    gate = Gate((0.1, 1.0, 10.0), (0.0, 1.0, 0.5))
    sigma = torch.tensor([0.01, 0.1, 0.5, 3.0, 10.0, 80.0])
    expected = np.interp(np.log(sigma.numpy()), np.log([0.1, 1.0, 10.0]), [0.0, 1.0, 0.5])
    torch.testing.assert_close(gate(sigma), torch.from_numpy(expected).float(), rtol=0, atol=1e-6)
    assert Gate((1.0,), (0.3,))(sigma).tolist() == pytest.approx([0.3] * 6)


def test_residual_denoiser_adds_the_gated_difference():
    x = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    denoise = ResidualDenoiser(
        lambda x, s: 0.5 * x, lambda x, s, inputs: 3 * inputs.base + x, Gate((0.1, 1.0), (0.0, 1.0))
    )
    sigma = torch.tensor([0.1, 1.0])
    torch.testing.assert_close(denoise(x, sigma)[0], 0.5 * x[0])
    torch.testing.assert_close(denoise(x, sigma)[1], 2.5 * x[1])


def test_a_closed_gate_does_not_run_the_network():
    def network(x, sigma, base):
        raise AssertionError("called")

    denoise = ResidualDenoiser(lambda x, s: x, network, Gate((1.0,), (0.0,)))
    x = torch.ones(1, 1, 1, 1, 1)
    assert torch.equal(denoise(x, torch.tensor([2.0])), x)


@pytest.mark.parametrize(
    "sigmas, values", [((), ()), ((1.0, 0.5), (0.0, 0.0)), ((1.0,), (0.0, 0.0)), ((1.0,), (1.5,)), ((0.0,), (1.0,))]
)
def test_a_gate_that_says_nothing_is_refused(sigmas, values):
    with pytest.raises(ValueError, match="a gate needs"):
        Gate(sigmas, values)
