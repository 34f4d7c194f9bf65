"""When a training compiles its network."""

import math

import pytest

from vidboot.method.edm import Preconditioned
from vidboot.networks.unet import UNet
from vidboot.training import compiling as module
from vidboot.training.compiling import Compiling, worth
from vidboot.training.computing import ComputedNetwork


@pytest.fixture
def clock(monkeypatch):
    """A compiler, and a clock that tests set."""
    now = [0.0]
    monkeypatch.setattr(module, "_can_compile", lambda: True)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def network():
    return ComputedNetwork(Preconditioned(UNet(channels=8, multipliers=(1,)), 0.5), bf16=False)


def run(compiling, clock, frames, seconds):
    """Steps on these frame counts; returns after which of them each was compiled."""
    compiled = {}
    for step, (num_frames, taken) in enumerate(zip(frames, seconds, strict=True), 1):
        with compiling.timed(step, num_frames):
            clock[0] += taken
        compiled |= dict.fromkeys(compiling.network.compiled - compiled.keys(), step)
    return compiled


@pytest.mark.parametrize(("steps", "compiled"), [(80_000, {16: 10}), (1_000, {})])
def test_only_a_training_with_steps_enough_is_compiled(clock, steps, compiled):
    # 0.156 s a step: 80,000 steps take hours, 1,000 less than compiling.
    assert run(Compiling(network(), steps, "auto"), clock, [16] * 20, [0.156] * 20) == compiled


def test_the_first_steps_which_warm_up_do_not_count(clock):
    assert not run(Compiling(network(), 1000, "auto"), clock, [16] * 20, [30.0, 30.0] + [0.1] * 18)


def test_each_frame_count_pays_for_itself(clock):
    # 16 in nine of ten steps, 64 in one: over 10,000 steps of 100 ms only the first saves minutes.
    frames = [64 if number % 10 == 0 else 16 for number in range(150)]
    assert list(run(Compiling(network(), 10_000, "auto"), clock, frames, [0.1] * 150)) == [16]


def test_what_is_saved_is_what_was_measured():
    # one_gpu on an H100, 156 ms and then 90 ms: as many steps as it takes to gain the compiler's 170 seconds.
    steps = math.ceil(170 / (0.156 - 0.090))
    assert worth(0.156, 1.02 * steps)
    assert not worth(0.156, 0.98 * steps)


def test_off_means_off_and_a_network_that_is_sharded_is_never_compiled(clock):
    assert Compiling(network(), 10**6, "off").network is None
    assert Compiling(Preconditioned(UNet(channels=8, multipliers=(1,)), 0.5), 10**6, "auto").network is None


def test_a_cpu_compiles_nothing():
    assert Compiling(network(), 10**6, "auto").network is None
