import math

import pytest
import torch

from vidboot.edm import Noise
from vidboot.samplers import sample_heun

VARIANCE = 0.25


def exact(x, sigma):
    """E[x0 | x] of white Gaussian video of variance 0.25."""
    return x * (VARIANCE / (VARIANCE + sigma**2)).reshape(-1, 1, 1, 1, 1)


def error(num_steps):
    """Distance from the exact solution of the ODE down to σ_min: x(σ) ∝ √(s² + σ²)."""
    sigmas = Noise(sigma_min=0.02, sigma_max=20.0).steps(num_steps)[:-1]
    x = torch.full((1, 1, 1, 1, 1), float(sigmas[0]), dtype=torch.float64)
    solution = x * math.sqrt((VARIANCE + float(sigmas[-1]) ** 2) / (VARIANCE + float(sigmas[0]) ** 2))
    return abs((sample_heun(exact, x, sigmas) - solution).item() / solution.item())


def test_heun_converges_at_second_order():
    slope = math.log2(error(40) / error(80))
    assert slope == pytest.approx(2, abs=0.2)


def test_evaluations_and_progress():
    calls, steps = [], []
    sigmas = Noise().steps(5)
    sample_heun(lambda x, s: calls.append(s) or x, torch.zeros(1, 1, 1, 1, 1), sigmas, steps.append)
    assert len(calls) == 2 * 5 - 1
    assert steps == [1, 2, 3, 4, 5]
