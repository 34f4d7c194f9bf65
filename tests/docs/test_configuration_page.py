"""`docs/configuration.md` is what its generator makes of the code, and every setting is explained there."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("configuration_page", DOCS / "configuration_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    assert generator.PAGE.read_text() == generator.page(), "run: python docs/configuration_page.py"


def test_every_setting_has_a_meaning(generator: ModuleType) -> None:
    assert generator.without_meaning() == [], "give these fields a docstring"


def test_keys_are_dotted_with_type_and_default(generator: ModuleType) -> None:
    lines = generator.page().splitlines()
    assert any(line.startswith("| `data.holdout` | number above 0, below 1 | `0.2` | ") for line in lines)
    assert any(line.startswith("| `low_res.N.scale` | whole number from 2 up | required | ") for line in lines)
    assert any(line.startswith("| `masks.N.box` | list of 4 whole numbers or null | `null` | ") for line in lines)
    assert any(line.startswith('| `deepspeed.precision` | `fp32` or `bf16` | `"fp32"` | ') for line in lines)
