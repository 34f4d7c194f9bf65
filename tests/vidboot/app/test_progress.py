"""Work in another thread."""

import threading

import pytest

from vidboot.app.progress import StoppedError, Update, followed
from vidboot.errors import UserError


def test_all_updates_come_in_order_and_then_the_result():
    updates, seen = followed(lambda report: [report(Update(str(n))) for n in range(5)] and "made"), []
    while True:
        try:
            seen.append(next(updates).text)
        except StopIteration as end:
            assert end.value == "made"
            break
    assert seen == ["0", "1", "2", "3", "4"]


def test_an_error_of_the_work_is_raised_after_its_updates():
    def work(report):
        report(Update("half"))
        raise UserError("no more")

    updates = followed(work)
    assert next(updates).text == "half"
    with pytest.raises(UserError, match="no more"):
        next(updates)


def test_closed_early_the_work_ends():
    ended = threading.Event()

    def work(report):
        try:
            while True:  # without an end of its own
                report(Update("on"))
        except StoppedError:
            ended.set()
            raise

    updates = followed(work)
    next(updates)
    updates.close()
    assert ended.is_set()
