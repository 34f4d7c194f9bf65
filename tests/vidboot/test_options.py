import argparse
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from vidboot.errors import UserError
from vidboot.evaluation.request import CurveRequest, RunRequest, TheoryRequest
from vidboot.generation.request import GenerateRequest
from vidboot.options import Option, add_options, read_options, words_of
from vidboot.settings import Strict


class Cake(Strict):
    """Options of every kind."""

    flour: Annotated[Path, Option(metavar="BAG")]
    """Where the flour is."""
    eggs: PositiveInt = 3
    """Eggs; 100 % fresh."""
    sugar: Annotated[int, Field(ge=10, lt=50)] | None = None
    """Grams of sugar."""
    heat: PositiveFloat = 180.0
    """Degrees."""
    salt: NonNegativeFloat = 0.5
    """Grams of salt."""
    shape: Literal["round", "square"] = "round"
    """A shape."""
    icing: bool = False
    """K layers of icing."""
    fruit: Annotated[tuple[str, ...], Option(flag="--with")] = ()
    """YAML of a fruit."""
    inside: Annotated[int, Option(hidden=True)] = 7
    """No option."""
    wishes: Annotated[tuple[str, ...], Option(positional=True, metavar="wish")] = ()
    """Anything else."""
    candles: Annotated[int, Option(group="on top")] = 0
    """Candles."""

    @model_validator(mode="after")
    def _fits(self) -> "Cake":
        if self.icing and self.shape == "square":
            raise ValueError("--icing goes with round cakes only")
        return self


def parser_of(schema):
    parser = argparse.ArgumentParser(prog="tool")
    add_options(parser, schema)
    return parser


def parsed(schema, words):
    return read_options(schema, parser_of(schema).parse_args(words))


def test_what_is_not_given_is_the_default_of_the_class():
    assert parsed(Cake, ["--flour", "bag"]) == Cake(flour=Path("bag"))


def test_every_kind_of_value_is_read():
    words = "one --flour bag --eggs 4 --sugar 12 --heat 1e2 --shape square --with fig --with plum --candles 5"
    cake = Cake(
        flour=Path("bag"),
        eggs=4,
        sugar=12,
        heat=100.0,
        shape="square",
        fruit=("fig", "plum"),
        wishes=("one",),
        candles=5,
    )
    assert parsed(Cake, words.split()) == cake
    assert parsed(Cake, ["--flour", "bag", "--icing"]).icing is True


def test_the_help_has_names_values_defaults_and_headings():
    text = " ".join(parser_of(Cake).format_help().split())
    for part in (
        "--flour BAG where the flour is",
        "--eggs N eggs; 100 % fresh (default: 3)",
        "--heat X degrees (default: 180.0)",
        "--shape {round,square} a shape (default: round)",
        "--icing K layers of icing --with NAME",
        "--with NAME YAML of a fruit",
        "positional arguments: wish anything else",
        "on top: --candles N candles (default: 0)",
    ):
        assert part in text
    assert "--inside" not in text
    assert "--flour BAG where the flour is (default" not in text
    assert "grams of sugar (default" not in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--eggs 0", "--eggs is at least 1, got 0"),
        ("--sugar 9", "--sugar is at least 10, got 9"),
        ("--sugar 50", "--sugar is below 50, got 50"),
        ("--heat 0", "--heat is above 0, got 0.0"),
        ("--heat nan", "--heat is a finite number, got nan"),
        ("--salt -0.1", "--salt is at least 0, got -0.1"),
        ("--icing --shape square", "--icing goes with round cakes only"),
    ],
)
def test_what_is_out_of_range_is_one_line_that_names_the_option(words, says):
    with pytest.raises(UserError) as refused:
        parsed(Cake, ["--flour", "bag", *words.split()])
    assert str(refused.value) == says


@pytest.mark.parametrize("words", ["", "--flour bag --eggs one", "--flour bag --shape oval", "--flour bag --inside 3"])
def test_what_is_missing_unknown_or_of_another_type_is_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        parsed(Cake, words.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: tool ")


# argparse drops a lone "--"; a surrogate is no text.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text != "--")
PATHS = TEXT.map(Path).filter(lambda path: not str(path).startswith("~"))  # the home folder takes its place
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Cake,
        flour=PATHS,
        eggs=st.integers(1),
        sugar=st.none() | st.integers(10, 49),
        heat=FLOATS.filter(lambda x: x > 0),
        salt=FLOATS.filter(lambda x: x >= 0),
        shape=st.just("round"),
        icing=st.booleans(),
        fruit=st.lists(TEXT).map(tuple),
        wishes=st.lists(TEXT.filter(lambda text: not text.startswith("-"))).map(tuple),
        candles=st.integers(),
    )
)
def test_the_words_of_settings_give_them_again(cake):
    assert parsed(Cake, words_of(cake)) == cake


@given(
    st.fixed_dictionaries(
        {"run": PATHS, "output": PATHS, "seed": st.integers(0, 2**31), "samples": st.integers(1, 100)},
        optional={
            "frames": st.integers(1, 10**9),
            "steps": st.integers(1, 1000),
            "iterations": st.integers(0, 100),
            "resampling": st.integers(1, 9),
            "churn": FLOATS.filter(lambda x: x >= 0),
            "fps": st.floats(0.01, 1000),
            "lossless": st.booleans(),
            "stream": st.booleans(),
            "max_batch_frames": st.integers(1),
            "init": PATHS,
            "low_res": PATHS,
            "repair": PATHS,
        },
    ),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"class_name": TEXT, "guidance": FLOATS}),
        st.fixed_dictionaries({"sampler": st.sampled_from(["heun", "dpm2m", "euler"]), "churn": st.just(0.0)}),
        st.fixed_dictionaries({"init": PATHS, "draws": st.integers(1, 50), "stream": st.just(False)}),
    ),
)
def test_the_words_of_any_request_give_it_again(values, more):
    request = GenerateRequest(**values | more)
    assert parsed(GenerateRequest, words_of(request)) == request


@given(
    st.one_of(
        st.builds(TheoryRequest, output=PATHS, seed=st.integers()),
        st.builds(
            RunRequest,
            run=PATHS,
            manifest=PATHS,
            output=st.none() | PATHS,
            baselines=st.lists(PATHS, max_size=3).map(tuple),
            features=st.none() | PATHS,
            samples=st.integers(2),
            frames=st.none() | st.integers(2),
            steps=st.integers(1),
            seed=st.integers(),
        ),
        st.builds(
            CurveRequest,
            config=PATHS,
            quick=st.booleans(),
            overrides=st.lists(TEXT.map(lambda text: f"key={text}")).map(tuple),
        ),
    )
)
def test_the_words_of_any_evaluation_give_it_again(request):
    assert parsed(type(request), words_of(request)) == request
