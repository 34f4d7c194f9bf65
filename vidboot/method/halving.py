"""Successive halving: which candidate is best, from held-out errors, at no more than a fixed cost in all.

Every candidate is trained a little, the better half goes on, and so forth. Each rung takes the same share of all
operations, and the candidates that are left share it evenly:

    K_1 = K,   K_{r+1} = ⌈K_r / 2⌉,   …,   K_R = 1          R rungs
    Σ_{s ≤ r} 1 / (R K_s)                                    of all operations, for a candidate that is left in rung r

So the last one gets 3/4 of what it would get alone if there are two candidates, 11/18 if there are three. Source:
Karnin, Koren & Somekh 2013; Jamieson & Talwalkar 2016, arXiv 1502.07943.

Candidates stand in the order of what they cost where they are used. A dearer one must be better than a cheaper one by
more than the standard error of the difference, paired over the held-out videos: what can't be told apart is not paid
for.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Errors = Mapping[str, Float[np.ndarray, "n"]]
"""Error of each held-out video, by candidate: the cheapest candidate first."""


def rungs(count: int) -> list[int]:
    """How many of `count` candidates are left in each rung: K_1, …, K_R."""
    left = [count]
    while left[-1] > 1:
        left.append(math.ceil(left[-1] / 2))
    return left


def shares(count: int) -> list[float]:
    """The share of all operations that a candidate has had by the end of each rung."""
    left = rungs(count)
    return list(itertools.accumulate(1 / (len(left) * k) for k in left))


def better(dearer: Float[np.ndarray, "n"], cheaper: Float[np.ndarray, "n"]) -> bool:
    """Whether the dearer one's error is lower by more than one standard error; one video allows no comparison."""
    gain = cheaper - dearer
    return len(gain) > 1 and bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def best(errors: Errors) -> str:
    """The best candidate: the cheapest, until a dearer one is better."""
    names = list(errors)
    chosen = names[0]
    for name in names[1:]:
        chosen = name if better(errors[name], errors[chosen]) else chosen
    return chosen


def survivors(errors: Errors) -> list[str]:
    """The better half (rounded up), cheapest first: the best, then the best of the others, and so on."""
    kept: list[str] = []
    for _ in range(math.ceil(len(errors) / 2)):
        kept.append(best({name: error for name, error in errors.items() if name not in kept}))
    return [name for name in errors if name in kept]


@dataclass(frozen=True)
class Rung:
    """What one rung found."""

    operations: float
    """The share of all operations that each candidate had had."""
    errors: dict[str, float]
    """Mean held-out error of each."""
    kept: list[str]
    """Those that went on."""


def halve(
    names: Sequence[str], errors_at: Callable[[str, int, float], Float[np.ndarray, "n"]]
) -> tuple[str, list[Rung]]:
    """The last of the candidates `names`, the cheapest of which comes first, and what was found on the way to it.

    `errors_at` trains a candidate until it has had a share of all operations in a rung, and returns its errors. The
    last one has yet to be trained to its own end.
    """
    left, found = list(names), list[Rung]()
    for number, share in enumerate(shares(len(names))[:-1]):
        errors = {name: errors_at(name, number, share) for name in left}
        left = survivors(errors)
        found.append(Rung(share, {name: float(error.mean()) for name, error in errors.items()}, left))
    return left[0], found
