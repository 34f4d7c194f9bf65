import argparse
import subprocess
import sys
import typing
from pathlib import Path

import pydantic
import pytest

from vidboot.generation.request import (
    DEFAULTS,
    MOMENT_ITERATIONS,
    REPAIR_DEFAULTS,
    GenerateRequest,
    SamplerName,
)
from vidboot.generation.sampling import Sampling
from vidboot.method.samplers import SAMPLERS
from vidboot.options import add_options

FILE = Path("file.mp4")


def request(**options):
    return GenerateRequest(run=Path("run"), output=Path("out.mp4"), **options)


def test_the_samplers_that_can_be_asked_for_are_those_that_there_are():
    assert set(typing.get_args(SamplerName)) == SAMPLERS.keys()


def test_the_defaults_in_the_help_are_those_of_the_library():
    parser = argparse.ArgumentParser()
    add_options(parser, GenerateRequest)
    text = " ".join(parser.format_help().split())
    for name in ("steps", "sampler", "draws"):
        assert f"(default: {DEFAULTS[name]}; {REPAIR_DEFAULTS[name]} for --repair alone" in text
        assert getattr(Sampling(), name) == DEFAULTS[name]
    assert f"(default: {MOMENT_ITERATIONS};" in text


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"draws": 0}, {"sampler": "ddim"}, {"guidance": float("nan")}, {"churn": -1.0}]
)
def test_sampling_refuses_what_is_out_of_range(options):
    with pytest.raises(pydantic.ValidationError):
        Sampling(**options)


@pytest.mark.parametrize(
    ("options", "alone"),
    [
        ({"repair": FILE}, True),
        ({"repair": FILE, "steps": 2}, True),
        ({}, False),
        ({"init": FILE}, False),
        ({"repair": FILE, "init": FILE}, False),
        ({"repair": FILE, "frames": 9}, False),
        ({"repair": FILE, "iterations": 0}, False),
        ({"repair": FILE, "stream": True}, False),
        ({"repair": FILE, "samples": 2}, False),
        ({"repair": FILE, "churn": 1.0}, False),
    ],
)
def test_a_repair_and_nothing_else_is_recognised(options, alone):
    assert request(**options).only_repairs is alone


def test_seeds_follow_the_first_up_to_the_largest():
    assert request(seed=5, samples=3).seeds == (5, 6, 7)
    assert request(seed=2**63 - 2, samples=2).seeds == (2**63 - 2, 2**63 - 1)
    for wrong in ({"seed": -1}, {"seed": 2**63 - 1, "samples": 2}):
        with pytest.raises(pydantic.ValidationError, match="seeds are"):
            request(**wrong)


@pytest.mark.parametrize("module", ["vidboot.generation.request", "vidboot.evaluation.request"])
def test_a_mistake_in_the_arguments_does_not_wait_for_torch(module):
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
