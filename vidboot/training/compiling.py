"""Which frame counts of a training are worth a compiled graph: decided from the time that its first steps took."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from vidboot.distributed import device, sum_over_ranks, world_size
from vidboot.networks.compiled import has_compiler
from vidboot.training.computing import ComputedNetwork

logger = logging.getLogger(__name__)
SAVED = 0.42
"""Share of a step's time that a compiled graph saves: `one_gpu` on an H100 took 156 ms and then 90 ms."""
COMPILE_SECONDS = 170.0
"""Seconds to compile a graph: the largest processor time measured for one of the shipped networks on 16 cores."""
MEASURED = 8
"""Steps of a frame count whose time is measured, after two to warm up."""


class Compiling:
    """Measures a training's steps, and has a frame count compiled if the steps to come save more time than it takes.

    Nothing is compiled with `setting` "off", on a CPU, without a compiler (triton), and under ZeRO-3, whose weights are
    never whole.
    """

    def __init__(self, network: nn.Module, steps: int, setting: Literal["auto", "off"]) -> None:
        self.steps, self.seen = steps, Counter[int]()
        self.seconds: dict[int, float] = defaultdict(float)
        self.network: ComputedNetwork | None = None
        if setting == "auto" and isinstance(network, ComputedNetwork) and _can_compile():
            self.network = network

    @contextmanager
    def timed(self, step: int, num_frames: int) -> Iterator[None]:
        """Around step number `step`, on videos of `num_frames` frames; all processes go through it alike."""
        start = time.perf_counter()
        yield
        if self.network is None:
            return
        self.seen[num_frames] += 1
        if 2 < self.seen[num_frames] <= 2 + MEASURED:
            self.seconds[num_frames] += time.perf_counter() - start
        if self.seen[num_frames] == 2 + MEASURED:
            self._decide(step, num_frames)

    def _decide(self, step: int, num_frames: int) -> None:
        """Have the frame count compiled if that gains time, by the mean over processes."""
        mean: Tensor = torch.tensor(self.seconds[num_frames] / MEASURED / world_size(), device=device())
        share = self.seen[num_frames] / self.seen.total()
        if worth(sum_over_ranks(mean).item(), share * (self.steps - step)) and self.network is not None:
            logger.info("compiling the network for %d frames; the next step takes minutes", num_frames)
            self.network.compile_for(num_frames)


def worth(seconds: float, steps: float) -> bool:
    """Whether compiling gains time over so many steps that take so long each."""
    return SAVED * seconds * steps > COMPILE_SECONDS


def _can_compile() -> bool:
    """Whether this is a GPU with a compiler; on a CPU nobody expects one."""
    return device().type == "cuda" and has_compiler("training")
