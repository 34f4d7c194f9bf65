"""Successive halving: against a simulation by the words of the rule, and on Gaussian videos, of which all is known."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.experiments.gaussian.linear import as_matrix, mean_square_error
from vidboot.method.composition import ComposedDenoiser
from vidboot.method.gate import GateFit
from vidboot.method.halving import best, halve, rungs, shares
from vidboot.method.regions import ViewPlan


def simulated(errors):
    """The last candidate of a table name → rung → errors, by loops; and the operations that each had."""
    names = list(errors)
    left, number, spent = list(names), 0, dict.fromkeys(names, 0.0)
    count = 1 + int(np.ceil(np.log2(len(names))))
    while True:
        for name in left:
            spent[name] += 1 / count / len(left)
        if len(left) == 1:
            return left[0], spent
        order, others = [], list(left)
        while others:
            first = others[0]
            for name in others[1:]:
                if ttest_rel(errors[first][number], errors[name][number]).statistic > 1:
                    first = name
            order.append(first)
            others.remove(first)
        half = order[: len(order) - len(order) // 2]
        left, number = [name for name in left if name in half], number + 1


@pytest.mark.parametrize("count", range(1, 8))
def test_the_choice_and_its_cost_are_those_of_a_simulation(count):
    rng = np.random.default_rng(count)
    for _ in range(50):
        names, levels = [f"c{n}" for n in range(count)], rng.normal(1, 0.1, count)
        video = rng.normal(0, 1, 12)
        errors = {
            name: [level + video + rng.normal(0, 0.1, 12) for _ in rungs(count)]
            for name, level in zip(names, levels, strict=True)
        }
        had = dict.fromkeys(names, 0.0)

        def errors_at(name, number, share, errors=errors, had=had):
            had[name] = share
            return errors[name][number]

        last, found = halve(names, errors_at)
        had[last] = shares(count)[-1]
        expected, spent = simulated(errors)
        assert last == expected
        assert had == pytest.approx(spent) and sum(had.values()) == pytest.approx(1)
        assert [len(rung.errors) for rung in found] == rungs(count)[:-1]


def test_what_cannot_be_told_apart_is_not_paid_for():
    noise = np.random.default_rng(0).normal(0, 1, 16)
    cheap = 5 + noise
    for gain, spread, chosen in ((0.1, 0.0, "dear"), (0.1, 0.3, "dear"), (0.1, 1.0, "cheap"), (-0.1, 0.0, "cheap")):
        dear = cheap - gain - spread * np.resize([1, -1], 16)  # a standard error of spread / √15
        assert best({"cheap": cheap, "dear": dear}) == chosen
    assert best({"cheap": np.array([2.0]), "dear": np.array([1.0])}) == "cheap"  # one video


SIGMA, TRAINED_ON, STEPS = 2.0, 16, 160
PLAN = ViewPlan(4, 2, (2,))
COST = {"clip": 1, "reads_base": 2}
"""Operations of a step: half of them go into the base's predictions."""


class Toy:
    """Linear residuals on a Gaussian video: each form starts as its base, and takes gradient steps on a few videos.

    At full length the clip network has learnt a share of what the composed base adds to windows of clips.
    """

    def __init__(self, learnt, seed):
        generator = torch.Generator().manual_seed(seed)
        self.video = GaussianVideo.reference(num_frames=16, size=4, long_range=0.6)
        shape, count = self.video.shape, self.video.shape[1]
        composed = ComposedDenoiser(PLAN.regions(count), self.video.denoiser_of)
        windows = ComposedDenoiser(ViewPlan(4, 2).regions(count), self.video.denoiser_of)
        composed, windows = (as_matrix(d, shape, SIGMA) for d in (composed, windows))
        self.base = {"clip": torch.lerp(windows, composed, learnt), "reads_base": composed}
        videos = self.video.sample(TRAINED_ON, generator).flatten(1)
        self.moment = videos.T @ videos / TRAINED_ON
        self.held_out = self.video.sample(16, generator)
        self.noisy = self.held_out + SIGMA * torch.randn(self.held_out.shape, generator=generator, dtype=torch.float64)

    def trained(self, form, share):
        """W after a share of the operations."""
        w, eye = self.base[form].clone(), torch.eye(len(self.moment), dtype=torch.float64)
        noisy = self.moment + SIGMA**2 * eye
        rate = 0.2 / torch.linalg.eigvalsh(noisy)[-1]
        for _ in range(round(share * STEPS * COST["reads_base"] / COST[form])):
            w -= rate * (w @ noisy - self.moment)
        return w

    def fit(self, form, w):
        """The gate's terms on the held-out videos."""
        fit = GateFit([SIGMA], len(self.held_out))
        for n, (x0, x) in enumerate(zip(self.held_out, self.noisy, strict=True)):
            base, network = ((matrix @ x.flatten()).reshape(1, *x0.shape) for matrix in (self.base[form], w))
            fit.add(n, SIGMA, base, network, x0[None])
        return fit

    def errors(self, form, share):
        return self.fit(form, self.trained(form, share)).cross_fitted()[0].numpy()

    def risk(self, form, share):
        """The exact expected error of the gated model after a share of the operations."""
        w = self.trained(form, share)
        (gamma,) = self.fit(form, w).gate().values
        return mean_square_error(torch.lerp(self.base[form], w, gamma), self.video.covariance, SIGMA)


@pytest.mark.parametrize("learnt, chosen", [(1.0, "clip"), (0.0, "reads_base")])
def test_the_choice_is_never_behind_its_own_special_cases(learnt, chosen):
    """The composed base is dropped where the clip network knows as much; where it doesn't, it is kept.

    The last quarter of the steps, which the choice costs, adds less here than videos can tell.
    """
    last = []
    for seed in range(5):
        toy = Toy(learnt, seed)
        name, _ = halve(list(COST), lambda form, number, share, toy=toy: toy.errors(form, share))
        least = toy.video.minimum_error(SIGMA)
        adaptive = toy.risk(name, shares(len(COST))[-1])
        fixed = {form: toy.risk(form, 1.0) for form in COST}
        spread = np.std(toy.errors("clip", 1.0) - toy.errors("reads_base", 1.0), ddof=1) / 4
        assert least < adaptive <= min(fixed.values()) + spread
        last.append(name)
    assert last == [chosen] * 5


def test_shares_rise_to_less_than_all():
    for count in range(2, 9):
        assert all(a < b for a, b in itertools.pairwise(shares(count))) and shares(count)[-1] < 1
    assert shares(1) == [1.0] and shares(2) == [0.25, 0.75] and shares(3)[-1] == pytest.approx(11 / 18)
