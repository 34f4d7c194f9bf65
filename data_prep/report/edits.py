"""The settings as the report's page needs them, to write them anew with other masks."""

import glob
import json
from typing import Any

import yaml

from data_prep.config import MaskSettings, Preprocess
from data_prep.work.locations import Location


def settings_for_page(settings: Preprocess) -> dict[str, Any]:
    """`rest`: YAML of everything that is no default, without masks; `own`: a line for each mask."""
    rest = settings.model_dump(mode="json", exclude={"masks"}, exclude_defaults=True)
    text = yaml.safe_dump(rest, sort_keys=False, allow_unicode=True) if rest else ""
    return {"rest": text, "own": [mask_line(mask) for mask in settings.masks]}


def mask_line(mask: MaskSettings) -> str:
    """A mask as one line of YAML."""
    values = mask.model_dump(mode="json", exclude_defaults=True)
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in values.items()) + "}"


def _scalar(value: Any) -> str:
    # JSON is YAML; but the settings' reader takes ${…} for a reference to another setting unless a backslash precedes.
    return json.dumps(value, ensure_ascii=False).replace("${", "\\\\${")


def pattern_of(source: Location) -> str:
    """The pattern, for `masks.N.source`, that this file alone fits."""
    # In brackets each sign stands for itself; so does $, which the settings' reader would take for a reference.
    return glob.escape(str(source)).replace("$", "[$]")
