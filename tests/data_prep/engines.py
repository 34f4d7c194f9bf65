"""Engines for tests."""


class InProcess:
    """An engine without worker processes, whose start takes longer than the work of most tests."""

    def __init__(self, *settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run(self, task, jobs):
        """Run one job after another."""
        for job in jobs:
            yield [(job, task(job))]
