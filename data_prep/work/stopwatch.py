"""Processor time by stage of the work."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping


class Stopwatch:
    """Adds up processor seconds by stage; other processes on the machine do not count."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._since = time.process_time()

    def lap(self, stage: str) -> None:
        """Count the time since the last call to this stage."""
        now = time.process_time()
        self.seconds[stage] += now - self._since
        self._since = now


def total_seconds(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sum of seconds by stage."""
    total: dict[str, float] = defaultdict(float)
    for part in parts:
        for stage, seconds in part.items():
            total[stage] += seconds
    return total
