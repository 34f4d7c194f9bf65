"""How a training hears that it is to stop."""

import os
import signal

import pytest

from vidboot.training.loop import _StopSignal


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_what_the_launcher_sends_after_ctrl_c_does_not_cut_the_step_short(first):
    with _StopSignal() as stop:
        assert not stop.requested
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), _StopSignal():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
