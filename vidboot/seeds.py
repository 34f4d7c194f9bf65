"""Seeds for PyTorch's generators, whose one on the CPU drops all but the lowest 32 bits."""

import numpy as np

MOST_SEED = 2**63 - 1
"""The largest seed that a user can give."""


def torch_seed(seed: int) -> int:
    """The seed itself if it has 32 bits, else 32 bits that depend on all of its own."""
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])
