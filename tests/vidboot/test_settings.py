import argparse
from pathlib import Path

import pytest

from vidboot.errors import UserError
from vidboot.options import add_options, read_options
from vidboot.settings import Folder, Strict, check_settings, home, load_settings


class Inner(Strict):
    learning_rate: float = 1e-3
    steps: int = 10


class Outer(Strict):
    name: str
    inner: Inner = Inner()
    many: list[Inner] = []
    named: dict[str, Inner] = {}


def refusal(tmp_path, text, overrides=()):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_settings(Outer, path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("name: a\ninner: {learning_rat: 1.0}", "inner.learning_rat", "'learning_rate'"),
        ("name: a\nmany: [{stepz: 1}]", "many.0.stepz", "'steps'"),
        ("name: a\nnamed: {x: {step: 1}}", "named.x.step", "'steps'"),
        ("nam: a", "nam", "'name'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_valid_one(tmp_path, text, key, nearest):
    message = refusal(tmp_path, text)
    assert f"{key}: unknown key; did you mean {nearest}?" in message


def test_an_unknown_key_like_no_other_lists_the_valid_ones(tmp_path):
    assert "valid here: inner, many, name, named" in refusal(tmp_path, "name: a\nqqqq: 1")


@pytest.mark.parametrize("value", ["'3'", "true", "3.5", "[3]"])
def test_a_value_of_another_type_is_refused(tmp_path, value):
    message = refusal(tmp_path, f"name: a\ninner: {{steps: {value}}}")
    assert "inner.steps" in message
    assert "integer" in message


def test_every_mistake_is_listed_at_once(tmp_path):
    message = refusal(tmp_path, "inner: {steps: x, lerning_rate: 1}")
    assert "3 setting(s)" in message
    assert all(key in message for key in ("name: missing", "inner.steps", "inner.lerning_rate"))


def test_overrides_reach_into_groups_and_lists(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: a\nmany: [{steps: 1}, {steps: 2}]")
    settings = load_settings(Outer, path, ["inner.learning_rate=2e-4", "many.1.steps=7", "name=b"])
    assert settings.inner.learning_rate == 2e-4
    assert [inner.steps for inner in settings.many] == [1, 7]
    assert settings.name == "b"


@pytest.mark.parametrize("text", ["a: [1", "just text", "- 1\n- 2", ""])
def test_what_is_no_group_of_settings_is_the_users_error(tmp_path, text):
    assert refusal(tmp_path, text)


def test_a_missing_file_and_a_word_that_is_no_setting_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no config file .*absent\.yaml"):
        load_settings(Outer, tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="'steps' is not a setting; write key=value"):
        load_settings(Outer, None, ["steps"])


def test_a_tilde_is_the_home_folder_in_settings_and_in_options(monkeypatch, tmp_path):
    class Places(Strict):
        folder: Folder
        path: Path

    monkeypatch.setenv("HOME", str(tmp_path))
    parser = argparse.ArgumentParser()
    add_options(parser, Places)
    given = read_options(Places, parser.parse_args(["--folder", "~/a", "--path=~/b"]))
    assert given == Places(folder=tmp_path / "a", path=tmp_path / "b")
    assert check_settings(Places, {"folder": "~/a", "path": Path("b")}, "x").folder == tmp_path / "a"
    assert home(Path("~nobody-of-that-name/a")) == Path("~nobody-of-that-name/a") and home(Path("a/~")) == Path("a/~")
