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
from vidboot.settings import Settings, Strict


@dataclass(frozen=True)
class Option:
    """How a field is given on the command line, where that doesn't follow from its name and type."""

    flag: str | None = None
    metavar: str | None = None
    hidden: bool = False
    """No option at all."""
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
        groups[option.group].add_argument(
            flag_of(name, field), dest=name, default=argparse.SUPPRESS, help=_help(field), **_argument(field)
        )


def read_options(schema: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The settings that were given. Raises `UserError` with the first mistake and its option."""
    given = {name: value for name, value in vars(arguments).items() if name in schema.model_fields}
    try:
        return schema(**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else None
        flag = "" if where is None else flag_of(str(where), schema.model_fields[str(where)]) + " "
        raise UserError(_problem(flag, first)) from None


def flag_of(name: str, field: FieldInfo) -> str:
    """The option's name: that of the field with dashes, unless the field says another."""
    return _option(field).flag or f"--{name.replace('_', '-')}"


def words_of(settings: Strict) -> list[str]:
    """The words that give these settings on a command line; defaults are left out."""
    words: list[str] = []
    for name, field in type(settings).model_fields.items():
        value, flag = getattr(settings, name), flag_of(name, field)
        if _option(field).hidden or value is None or value == field.default:
            continue
        if value is True:
            words.append(flag)
        else:
            for item in value if isinstance(value, tuple) else (value,):
                words += [flag, str(item)]
    return words


def _option(field: FieldInfo) -> Option:
    return next((item for item in field.metadata if isinstance(item, Option)), Option())


def _argument(field: FieldInfo) -> dict[str, Any]:
    """Type, number and metavar for argparse."""
    kind, metavar = _plain_type(field.annotation), _option(field).metavar
    if kind is bool:
        return {"action": "store_true"}
    if typing.get_origin(kind) is Literal:
        return {"choices": typing.get_args(kind)}
    if typing.get_origin(kind) is tuple:
        return {"action": _Append, "type": typing.get_args(kind)[0], "metavar": metavar}
    metavar = metavar or {int: "N", float: "X", Path: "PATH"}.get(kind, "NAME")
    return {"type": kind, "metavar": metavar, "required": field.is_required()}


class _Append(argparse.Action):
    """Collects the values of an option that may be given several times in a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), values))


def _plain_type(annotation: Any) -> Any:
    """The type without `None` and without limits."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _plain_type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _plain_type(next(kind for kind in typing.get_args(annotation) if kind is not types.NoneType))
    return annotation


def _help(field: FieldInfo) -> str:
    """The field's docstring as argparse has it, with the default."""
    text = " ".join((field.description or "").split())
    default = "" if field.is_required() or field.default in (None, ()) or field.default is False else field.default
    first = text[:1].lower() if text[1:2].islower() else text[:1]
    return (first + text[1:].rstrip(".") + (f" (default: {default})" if default != "" else "")).replace("%", "%%")


def _problem(flag: str, error: Any) -> str:
    limits = error.get("ctx", {})
    words = {
        "greater_than_equal": f"is at least {limits.get('ge')}",
        "greater_than": f"is at least {limits.get('gt', 0) + 1}",  # of whole numbers: others have no such limit
        "less_than_equal": f"is at most {limits.get('le')}",
        "less_than": f"is less than {limits.get('lt')}",
        "finite_number": "is a finite number",
    }
    if error["type"] in words:
        return f"{flag}{words[error['type']]}, got {error['input']}"
    return f"{flag}{limits.get('error', error['msg'])}"
