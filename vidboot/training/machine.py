"""The GPUs that an estimate is for: their memory, their speed, and what they cost."""

from dataclasses import dataclass

from vidboot.distributed import world_size
from vidboot.errors import UserError

FILLED = 0.9
"""Share of a card's memory that may be in use: the rest is for the program, and for gaps between allocations."""
REACHED = 0.1
"""Share of a card's bf16 speed by its data sheet that a step reaches: compiled, `one_gpu` made 103 of an H100's 989
TFLOP/s, and `long_video`, with its activations kept, 172."""


@dataclass(frozen=True)
class Card:
    """A GPU: its memory, and its speed with matrices in bf16, not sparse, by its maker's data sheet."""

    name: str
    gigabytes: float
    tflops: float


CARDS = {
    card.name: card
    for card in (
        Card("rtx3090", 24, 71),
        Card("rtx4090", 24, 165),
        Card("l4", 24, 121),
        Card("l40s", 48, 362),
        Card("a100-40gb", 40, 312),
        Card("a100-80gb", 80, 312),
        Card("h100", 80, 989),
        Card("h200", 141, 989),
    )
}


@dataclass(frozen=True)
class Machine:
    """The GPUs that an estimate is for."""

    card: Card
    share: float = REACHED
    """Share of the card's speed that steps reach."""
    price: float | None = None
    """Price of one GPU for an hour."""

    def hours(self, flops: float) -> float:
        """Hours of all processes together for so many operations."""
        return flops / (world_size() * self.share * self.card.tflops * 1e12) / 3600


def machine(name: str, share: float | None = None, price: float | None = None) -> Machine:
    """The machine of a command's options; raises `UserError` for an unknown card or a share that is none."""
    if name not in CARDS:
        raise UserError(f"no GPU '{name}' is known; give one of {', '.join(CARDS)}")
    if share is not None and not 0 < share <= 1:
        raise UserError(f"--share must be above 0 and at most 1, got {share:g}")
    return Machine(CARDS[name], REACHED if share is None else share, price)
