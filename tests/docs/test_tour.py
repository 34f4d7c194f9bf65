"""The notebook docs/tour.ipynb runs from its first cell to its last."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_model import SETTINGS, small_model

from vidboot.model.run_folder import save

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "data" / "digits_run"
BOOK = json.loads((ROOT / "docs" / "tour.ipynb").read_text())
CELLS = {cell["id"]: "".join(cell["source"]) for cell in BOOK["cells"] if cell["cell_type"] == "code"}
MINUTES = "curve"
"""The cell that takes some minutes."""


def run_cell(name: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; returns the value of its last line, if that is an expression."""
    body = ast.parse(CELLS[name])
    last = body.body.pop() if isinstance(body.body[-1], ast.Expr) else None
    exec(compile(body, name, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), names)


def numbers(printed: str) -> dict[str, float]:
    """The number at the end of each printed line, by what stands before the colon."""
    return {name: float(value) for name, value in re.findall(r"^(.*?): .*?([\d.]+)$", printed, re.MULTILINE)}


def test_it_is_a_notebook_without_outputs() -> None:
    assert (BOOK["nbformat"], BOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in BOOK["cells"]}) == len(BOOK["cells"])
    for cell in BOOK["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_it_runs_with_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """All but the learning curve, with untrained networks: 12 frames of 16×16 pixels."""
    monkeypatch.setitem(SETTINGS, "video", SETTINGS["video"] | {"height": 16, "width": 16})
    save(small_model(), tmp_path / "run")
    monkeypatch.setenv("VIDBOOT_TOUR_RUN", str(tmp_path / "run"))
    names: dict[str, Any] = {}
    for name in CELLS:
        if name != MINUTES:
            shown = run_cell(name, names)
            assert name == "setup" or "data:video/mp4" in shown._repr_html_()
    assert names["made"].shape == (3, 24, 16, 16)
    printed = numbers(capsys.readouterr().out)
    # With the brightness given by its own statistics, it varies as in real videos, whatever the clip network is.
    real, alone, both = (printed[name] for name in ("real", "clips alone", "clips and brightness"))
    assert abs(both - real) < abs(alone - real)
    # Pixels beside the letters come back exactly.
    beside = (names["painted"]["vidboot"] - names["truth"])[..., ~names["under"]]
    assert beside.abs().max() < 1e-6


@pytest.mark.slow
@pytest.mark.skipif(not RUN.is_dir(), reason="the trained digits run is not here")
def test_it_runs_as_it_stands(capsys: pytest.CaptureFixture) -> None:
    """With the run that comes with the program: painting out is better than cv2.inpaint; the curve is there."""
    names: dict[str, Any] = {}
    for name in CELLS:
        run_cell(name, names)
    printed = capsys.readouterr().out
    errors = numbers(printed)
    assert errors["vidboot"] < errors["cv2.inpaint"]
    assert "base + residual" in printed and "data-efficiency ratio" in printed
