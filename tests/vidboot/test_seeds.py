"""Seeds beyond 32 bits give noise of their own, and others what they always gave."""

import torch

from vidboot.generation.sampling import seeded
from vidboot.seeds import MOST_SEED, torch_seed


def test_seeds_of_32_bits_are_used_as_they_are():
    assert [torch_seed(seed) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]


def test_seeds_that_differ_in_high_bits_only_give_other_noise():
    seeds = [5, 5 + 2**32, 5 + 2**40, 5 + 2**62, MOST_SEED, MOST_SEED - 2**32]
    drawn = [torch.rand(4, generator=generator) for generator in seeded(seeds)]
    again = [torch.rand(4, generator=generator) for generator in seeded(seeds)]
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert len({tuple(values.tolist()) for values in drawn}) == len(seeds)
