"""Writes `docs/configuration.md` from the settings' own types, defaults and docstrings.

python docs/configuration_page.py            write the page
python docs/configuration_page.py --check    write nothing; exit with 1 if the page is out of date

Every key is listed, in the order of the code: dotted as on the command line, `N` for a number in a list.
"""

import json
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from data_prep.config import Preprocess
from vidboot.config import RunConfig
from vidboot.experiments.learning_curve.config import CurveConfig

PAGE = Path(__file__).with_name("configuration.md")
SECTIONS = (
    ("Preprocessing", "tools/preprocess.py", "configs/preprocess.yaml", Preprocess),
    ("Training", "tools/train.py", "configs/one_gpu.yaml", RunConfig),
    ("Learning curve", "tools/evaluate.py learning-curve", "configs/learning_curve.yaml", CurveConfig),
)
ELSEWHERE = {RunConfig: "See [Training](#training); here each key begins with `run.`."}
"""Groups that have a section of their own, and what other sections say in their place."""

HEAD = """\
# Configuration

<!-- Made by docs/configuration_page.py from the code. Change the docstrings there, then run it again. -->

Every setting of the commands. A YAML file (`--config`) gives them; `key=value` on the command line changes one, with
dots between the levels and numbers for the places in a list (`low_res.0.train.steps=30`). Unknown keys, wrong types and
values that do not fit each other are refused before anything starts, all of them at once.

"""


class Setting(NamedTuple):
    """One key: as the page lists it."""

    key: str
    type: str
    default: str
    meaning: str


class Group(NamedTuple):
    """A group of settings: its key (empty at the top), what it is, and the settings in it."""

    key: str
    meaning: str
    settings: list[Setting]


def groups(schema: type[BaseModel], key: str = "", meaning: str = "", default: Any = None) -> Iterator[Group]:
    """The groups of a schema, each before those inside it; `default` is what the group is where none is given."""
    settings, inner = [], []
    for name, field in schema.model_fields.items():
        value = getattr(default, name) if isinstance(default, BaseModel) else _default(field)
        dotted = f"{key}.{name}" if key else name
        model, is_list = _model_of(field.annotation)
        if model is None or model in ELSEWHERE:
            words = _words(field.annotation, field.metadata) if model is None else "group"
            said = " ".join(filter(None, [_one_line(field.description), ELSEWHERE.get(model)]))
            settings.append(Setting(dotted, words, _yaml(value), said))
        else:
            inner.append((model, f"{dotted}.N" if is_list else dotted, _about(field, model, value, is_list), value))
    yield Group(key, meaning, settings)
    for model, dotted, about, value in inner:
        yield from groups(model, dotted, about, value)


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join(_section(*section) for section in SECTIONS)


def without_meaning() -> list[str]:
    """The settings that no docstring explains."""
    return [
        f"{schema.__name__}: {setting.key}"
        for *_, schema in SECTIONS
        for group in groups(schema)
        for setting in group.settings
        if not setting.meaning
    ]


def _section(title: str, command: str, example: str, schema: type[BaseModel]) -> str:
    lines = [f"## {title}", "", f"For `{command}`; an example is [`{example}`](../{example}).", ""]
    for group in groups(schema):
        if group.key:
            lines += [f"### `{group.key}`", "", group.meaning, ""]
        if group.settings:
            lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
            lines += [_row(setting) for setting in group.settings] + [""]
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    cells = (f"`{setting.key}`", setting.type, setting.default, setting.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _about(field: FieldInfo, model: type[BaseModel], value: Any, is_list: bool) -> str:
    """What a group is: its own docstring, then that of the key that holds it, then what is there by default."""
    texts = [_one_line(model.__doc__), _one_line(field.description)]
    if is_list:
        texts.append(f"A list; default: {_yaml(value)}.")
    elif value is None:
        texts.append("Default: `null`.")
    if not is_list and types.NoneType in typing.get_args(field.annotation) and value is not None:
        texts.append("`null` leaves it out.")
    return " ".join(text for text in texts if text)


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The group that a field holds, if it holds one, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    found = [_model_of(inner)[0] for inner in typing.get_args(annotation)]
    model = next((one for one in found if one is not None), None)
    return model, model is not None and typing.get_origin(annotation) is list


def _default(field: FieldInfo) -> Any:
    return field.default if field.default_factory is None else field.default_factory()  # type: ignore[call-arg]


def _yaml(value: Any) -> str:
    """A default as YAML, as code; `required` where there is none."""
    if value is PydanticUndefined:
        return "required"
    return f"`{json.dumps(value.model_dump(mode='json') if isinstance(value, BaseModel) else value, default=str)}`"


def _words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in plain words, with its bounds."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(inner[0], [*_flat(inner[1:]), *metadata])
    if origin in (typing.Union, types.UnionType):
        words = [_words(one, metadata) for one in inner if one is not types.NoneType]
        return " or ".join([*words, *(["null"] if types.NoneType in inner else [])])
    if origin is typing.Literal:
        return _either([f"`{value}`" for value in inner])
    if origin is list:
        return f"list of {_many(_words(*inner), metadata)}"
    if origin is dict:
        return "mapping"
    if annotation in (int, float):
        return ("whole number" if annotation is int else "number") + _bounds(metadata, annotation is int)
    return {bool: "true or false", str: "text", Path: "path"}[annotation]


def _flat(metadata: Sequence[Any]) -> list[Any]:
    """Bounds, also those that a `Field(…)` inside a type holds."""
    return [bound for one in metadata for bound in (one.metadata if isinstance(one, FieldInfo) else [one])]


def _bounds(metadata: Sequence[Any], whole: bool) -> str:
    """` from 1 up`, ` from 0 to 1`, ` above 0`: the bounds of a number, in words."""
    low = high = ""
    for bound in _flat(metadata):
        match bound:
            case annotated_types.Gt(gt=value):
                low = f"from {value + 1}" if whole else f"above {value:g}"
            case annotated_types.Ge(ge=value):
                low = f"from {value:g}"
            case annotated_types.Lt(lt=value):
                high = f"below {value:g}"
            case annotated_types.Le(le=value):
                high = f"to {value:g}"
    if low.startswith("from") and not high:
        high = "up"
    joined = ", ".join(one for one in (low, high) if one) if high.startswith("below") else f"{low} {high}".strip()
    return f" {joined}" if joined else ""


def _many(words: str, metadata: Sequence[Any]) -> str:
    """`4 whole numbers`, `at least 1 number from 0 up`: what a list holds."""
    least = next((one.min_length for one in metadata if isinstance(one, annotated_types.MinLen)), 0)
    most = next((one.max_length for one in metadata if isinstance(one, annotated_types.MaxLen)), None)
    plural = words.replace("number", "numbers", 1).replace("text", "texts", 1)
    if most is not None:
        return f"{least} {plural}" if least == most else f"{least} to {most} {plural}"
    return f"{plural}, at least {least} of them" if least else plural


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _one_line(text: str | None) -> str:
    """A docstring as a cell of a table; what is `None` in Python is `null` in YAML."""
    return re.sub(r"\bNone\b", "`null`", " ".join((text or "").split()))


def main() -> None:
    """Write the page, or check it."""
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text() == page() else f"{PAGE} is out of date: run {__file__}")
    PAGE.write_text(page())
    print(f"{PAGE}: written; without a meaning: {', '.join(without_meaning()) or 'none'}")


if __name__ == "__main__":
    main()
