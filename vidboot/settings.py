"""Strict typed settings: YAML plus `key=value` overrides, checked before anything starts.

OmegaConf reads and merges, pydantic checks. This module adds the messages: every mistake is listed with its key, what
was expected and the nearest valid name.
"""

import difflib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import AfterValidator, Field, PositiveFloat

from vidboot.errors import UserError


def home(path: Path) -> Path:
    """A path with the user's home folder for a `~` at its beginning, which a shell leaves in `key=~/path`."""
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user
        return path


class Strict(pydantic.BaseModel):
    """A group of settings: no unknown keys, no implicit conversion of types, only finite numbers, never changed."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def _each_once(sigmas: list[float]) -> list[float]:
    if len(set(sigmas)) < len(sigmas):
        raise ValueError(f"each noise level once, got {sigmas}")
    return sigmas


Sigmas = Annotated[list[PositiveFloat], Field(min_length=1), AfterValidator(_each_once)]
"""Noise levels, each once."""

Folder = Annotated[Path, Field(strict=False), AfterValidator(home)]
Source = Annotated[str, Field(min_length=1), AfterValidator(lambda text: str(home(Path(text))))]
"""The path of a file or folder, or a name on the hub."""
Share = Annotated[float, Field(ge=0, le=1)]

Settings = TypeVar("Settings", bound=Strict)


def load_settings(schema: type[Settings], path: str | Path | None, overrides: Sequence[str] = ()) -> Settings:
    """Read a YAML file (None: only defaults), apply `key=value` overrides (dots for nesting), and check the result.

    Raises `UserError` listing every mistake with its key, what was expected and the nearest valid name.
    """
    # Imported here: it takes half a second, and processes that get checked settings don't need it.
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    for item in overrides:
        if "=" not in item or item.startswith("-"):
            raise UserError(f"'{item}' is not a setting; write key=value, for example {_example(schema)}")
    try:
        tree = OmegaConf.load(path) if path is not None else OmegaConf.create({})
        for item in overrides:
            key, text = item.split("=", 1)
            OmegaConf.update(tree, key, OmegaConf.from_dotlist([f"value={text}"]).value)
        values = OmegaConf.to_container(tree, resolve=True)
    except FileNotFoundError:
        raise UserError(f"there is no config file {path}") from None
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise UserError(f"{path} can't be read as YAML settings: {error}") from None
    return check_settings(schema, values, name=str(path) if path is not None else "settings")


def check_settings(schema: type[Settings], values: Any, name: str) -> Settings:
    """Check a tree of plain values against `schema`; raises `UserError` as `load_settings` does."""
    try:
        return schema.model_validate(values)
    except pydantic.ValidationError as error:
        problems = "\n".join(f"  {_problem(schema, e)}" for e in error.errors())
        raise UserError(f"{name}: {error.error_count()} setting(s) refused\n{problems}") from None


def _example(schema: type[Strict]) -> str:
    return f"{next(iter(schema.model_fields), 'key')}=…"


def _problem(schema: type[Strict], error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "(top level)"
    if error["type"] == "extra_forbidden":
        valid = sorted(_valid_names(schema, error["loc"][:-1]))
        near = difflib.get_close_matches(str(error["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"valid here: {', '.join(valid)}"
        return f"{key}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    return f"{key}: {error['msg']}, got {error['input']!r} ({type(error['input']).__name__})"


def _valid_names(schema: Any, loc: Sequence[Any]) -> set[str]:
    """Names of the settings in the group at `loc`, found by following the annotations from `schema` down."""
    groups = _groups(schema)
    for part in loc:
        annotations = [
            g.model_fields[part].annotation for g in groups if isinstance(part, str) and part in g.model_fields
        ]
        # A part that is no field is a key of a dict or an index of a list, and `_groups` has already looked inside.
        groups = [inner for annotation in annotations for inner in _groups(annotation)] or groups
    return {name for group in groups for name in group.model_fields}


def _groups(annotation: Any) -> list[type[Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return [annotation]
    return [group for inner in typing.get_args(annotation) for group in _groups(inner)]
