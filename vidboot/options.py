"""Command-line options from a settings class: names, help, limits and defaults are written once, in its fields.

A field `max_batch_frames: PositiveInt | None = None` with a docstring becomes `--max-batch-frames N` with that help.
"""

import argparse
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic.fields import FieldInfo

from vidboot.errors import UserError
from vidboot.settings import Settings, Strict, home


@dataclass(frozen=True)
class Option:
    """How a field appears on the command line, where its name and type do not already say it."""

    flag: str | None = None
    """Name of the option, with its dashes (None: the field's name)."""
    metavar: str | None = None
    """What stands for the value in the help (None: a word for the type)."""
    positional: bool = False
    """The field holds the words that belong to no option."""
    hidden: bool = False
    """The field has no option: only Python code sets it."""
    group: str | None = None
    """Heading in the help."""


def add_options(parser: argparse.ArgumentParser, schema: type[Strict]) -> None:
    """Add an option for each field of `schema`."""
    groups: dict[str | None, Any] = {None: parser}
    for name, field in schema.model_fields.items():
        option = _option(field)
        if option.hidden:
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        names: dict[str, Any] = {} if option.positional else {"dest": name}
        groups[option.group].add_argument(
            flag_of(name, field), default=argparse.SUPPRESS, help=_help(field), **names, **_argument(field)
        )


def read_options(schema: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The settings given on the command line. Raises `UserError` with the first mistake and the option it is in."""
    given = {name: value for name, value in vars(arguments).items() if name in schema.model_fields}
    try:
        return schema(**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else None
        flag = "" if name is None else f"{flag_of(name, schema.model_fields[name])} "
        raise UserError(_problem(flag, first)) from None


def flag_of(name: str, field: FieldInfo) -> str:
    """The option's name: the field's name with dashes, unless its `Option` gives another."""
    option = _option(field)
    return name if option.positional else option.flag or f"--{name.replace('_', '-')}"


def words_of(settings: Strict) -> list[str]:
    """The command-line words that give these settings; values that are the default are left out."""
    words: list[str] = []
    for name, field in type(settings).model_fields.items():
        value, option = getattr(settings, name), _option(field)
        if option.hidden or value is None or value == field.get_default():
            continue
        for item in value if isinstance(value, tuple) else (value,):
            words += [str(item)] if option.positional else _words(flag_of(name, field), item)
    return words


def _words(flag: str, value: Any) -> list[str]:
    if value is True:
        return [flag]
    text = str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]  # argparse takes "-1e-05" for an option


def _option(field: FieldInfo) -> Option:
    return next((item for item in field.metadata if isinstance(item, Option)), Option())


def _argument(field: FieldInfo) -> dict[str, Any]:
    """Type, number of values and metavar for argparse."""
    kind, option = _plain_type(field.annotation), _option(field)
    if kind is bool:
        return {"action": "store_true"}
    several = typing.get_origin(kind) is tuple
    one = typing.get_args(kind)[0] if several else kind
    argument: dict[str, Any] = {"action": _Append} if several else {}
    if option.positional:
        argument |= {"nargs": ("+" if field.is_required() else "*") if several else None}
    else:
        argument |= {"required": field.is_required()}
    if typing.get_origin(one) is Literal:
        return argument | {"choices": typing.get_args(one), "metavar": option.metavar}
    kind = _path if one is Path else one
    return argument | {"type": kind, "metavar": option.metavar or {int: "N", float: "X", Path: "PATH"}.get(one, "NAME")}


def _path(text: str) -> Path:
    return home(Path(text))


class _Append(argparse.Action):
    """Collects the values of an option that may be given several times in a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        new = values if isinstance(values, list) else [values]
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), *new))


def _plain_type(annotation: Any) -> Any:
    """The type without `None` and without limits."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _plain_type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _plain_type(next(kind for kind in typing.get_args(annotation) if kind is not types.NoneType))
    return annotation


def _help(field: FieldInfo) -> str:
    """The field's docstring as help texts are written: no capital, no full stop, and the default at the end."""
    text = " ".join((field.description or "").split()).rstrip(".")
    word, space, rest = text.partition(" ")
    word = word.lower() if word == "A" or word[1:].islower() else word  # neither "YAML" nor the K of "K samples"
    default = None if field.is_required() else field.get_default()
    ending = "" if default is None or default is False or default == () else f" (default: {default})"
    return f"{word}{space}{rest}{ending}".replace("%", "%%")


def _problem(flag: str, error: Any) -> str:
    """A mistake that pydantic found, in words."""
    limits, got = error.get("ctx", {}), error["input"]
    match error["type"]:
        case "greater_than_equal":
            return f"{flag}is at least {_number(limits['ge'])}, got {got}"
        case "greater_than" if isinstance(limits["gt"], int):
            return f"{flag}is at least {limits['gt'] + 1}, got {got}"
        case "greater_than":
            return f"{flag}is above {_number(limits['gt'])}, got {got}"
        case "less_than_equal":
            return f"{flag}is at most {_number(limits['le'])}, got {got}"
        case "less_than":
            return f"{flag}is below {_number(limits['lt'])}, got {got}"
        case "finite_number":
            return f"{flag}is a finite number, got {got}"
        case _:
            return f"{flag}{limits.get('error', error['msg'])}"


def _number(limit: float) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)
