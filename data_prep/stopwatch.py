"""What each stage of the work takes."""

import time
from collections import Counter


class Stopwatch:
    """Adds up processor seconds by stage; other processes on the machine do not count."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._since = time.process_time()

    def lap(self, stage: str) -> None:
        """Count the time since the last call to this stage."""
        now = time.process_time()
        self.seconds[stage] += now - self._since
        self._since = now
