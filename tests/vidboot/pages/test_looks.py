"""The pages of experiments and of runs in Chromium: readable anywhere, tables that sort, videos in step."""

from pathlib import Path

import pytest
import torch
from chromium import CHROMIUM, Page
from looks import opened
from made_up import evaluation, theory
from rich.table import Table

from vidboot.evaluation import run_page
from vidboot.experiments.gaussian.report import write_report
from vidboot.experiments.learning_curve import curve, page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (chromium or google-chrome in the PATH)")
ROOT = Path(__file__).parents[3]


def column(page: Page, table: int, number: int) -> list[str]:
    """The cells of a column below its title, as they stand."""
    cells = (
        f"[...document.querySelectorAll('table')[{table}].rows].map((row) => row.cells[{number}].textContent.trim())"
    )
    return page.evaluate(cells)[1:]


def videos(count: int, frames: int) -> torch.Tensor:
    return torch.rand(count, 3, frames, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_page_of_a_run(tmp_path):
    made = {"held-out": videos(3, 24), "base": videos(3, 24)}
    pairs = {name: videos(2, 8) for name in evaluation()["copies"]}
    path = run_page.write_page(tmp_path, evaluation(), made, pairs, 12.0)
    with opened(path, tmp_path) as page:
        # By value, not by letter: 12 is more than 1; a second click turns the order round.
        page.click("table:first-of-type th", 3)
        assert column(page, 0, 0) == ["base + residual", "base", "runs/another"]
        assert column(page, 0, 3) == ["0.1250 (0.0625–0.2500)", "1.0000 (0.5000–2.0000)", "12.0000 (6.0000–24.0000)"]
        page.click("table:first-of-type th", 3)
        assert column(page, 0, 0) == ["runs/another", "base", "base + residual"]
        page.click("table:first-of-type th", 0)
        assert column(page, 0, 0) == ["base", "base + residual", "runs/another"]
        group = "[...document.querySelectorAll('.videos')[0].querySelectorAll('video')]"
        page.wait(f"{group}.length === 6 && {group}.every((video) => video.readyState >= 2 && !video.paused)")
        # One is moved away: the others stay, and it comes back to them.
        page.evaluate(f"{group}.forEach((v, k) => {{ v.onseeked = () => (v.back = (v.back ?? 0) + 1) }})")
        page.evaluate(f"{group}[4].currentTime = ({group}[0].currentTime + 1) % 2")
        apart = f"Math.max(...{group}.map((v) => Math.abs(v.currentTime - {group}[0].currentTime)))"
        page.wait(f"{group}[4].back >= 2 && {apart} < 0.1")
        page.click(".videos button")
        page.wait(f"{group}.every((video) => video.paused) && {apart} < 0.07")


def test_the_page_of_the_theory(tmp_path):
    with opened(write_report(tmp_path, theory()), tmp_path) as page:
        page.click("table:nth-of-type(2) th", 5)
        # By number; what is equal stays in order.
        assert column(page, 1, 5) == ["> 1", "1", "> 4", "4"]
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 300)")


def test_the_page_of_a_learning_curve(tmp_path):
    config = curve.load_curve_settings(ROOT / "configs" / "learning_curve.yaml", [f"output={tmp_path}"], quick=False)
    errors = Table(title="Error against the number of full videos")
    for title, *cells in (("", "direct", "base"), ("4", "0.5000 ± 0.0100", "–"), ("16", "0.0625", "0.1250")):
        errors.add_column(title)
        errors.columns[-1]._cells.extend(cells)
    (tmp_path / "learning_curve.png").write_bytes((ROOT / "docs/results/digits/learning_curve.png").read_bytes())
    path = page.write_page(config, "learning_curve.png", errors)
    with opened(path, tmp_path) as shown:
        assert column(shown, 0, 0) == ["direct", "base"] and column(shown, 0, 1) == ["0.5000 ± 0.0100", "–"]
        shown.click("table th", 2)
        shown.click("table th", 2)
        assert column(shown, 0, 2) == ["0.1250", "0.0625"]
