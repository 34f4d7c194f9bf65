"""The page's script, used as a person does it: with a mouse, in Chromium, on the report of a real run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, Page
from footage import titled_films, write

from data_prep.config import MaskSettings, Preprocess
from data_prep.run import preprocess
from data_prep.work.store import open_store
from vidboot.data import load_manifest
from vidboot.data.video import read_frames
from vidboot.settings import load_settings

ROOT = Path(__file__).parents[3]
SETTINGS = ["height=180", "width=320", "workers=1", "text.detector=opencv", "store.crf=12"]
OWN = MaskSettings(source="*.mp4", box=[0, 0, 12, 20], end=30)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (chromium or google-chrome in the PATH)")


def masks(output: Path) -> list[np.ndarray]:
    return [shot.mask() for shot in load_manifest(output)]


def made(output: Path) -> tuple:
    """The shots and when they were written; analyses and records of encoding, which tell how long it took."""
    shots = {p: p.stat().st_mtime_ns for p in (output / "shots").rglob("*") if p.is_file()}
    with open_store(output) as store:
        return shots, [sorted(store.get_many(table, list(store.keys(table)))) for table in ("analyses", "encoded")]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run with a mask of one's own; the clip has two texts, and a name that has a meaning in patterns."""
    folder = tmp_path_factory.mktemp("films")
    (film,) = titled_films(folder / "other", 1)
    write(folder / "in/film [1].mp4", read_frames(film))
    settings = load_settings(Preprocess, None, SETTINGS).model_copy(update={"masks": [OWN]})
    preprocess([folder / "in"], folder / "out", settings)
    return folder


@pytest.fixture
def run(whole_run, tmp_path):
    """The run's input and a copy of its output."""
    shutil.copytree(whole_run / "out", tmp_path / "out")
    return whole_run / "in", tmp_path / "out"


def saved(page: Page, folder: Path) -> Path:
    """The file that the page's button saves."""
    file = folder / "edited.yaml"
    file.unlink(missing_ok=True)
    page.click("#save")
    page.wait("document.getElementById('said').textContent.startsWith('Saved')")
    for _ in range(500):
        if file.exists() and file.read_text() == page.evaluate("document.getElementById('yaml').value"):
            return file
        page.evaluate("new Promise((done) => setTimeout(done, 20))")
    raise AssertionError("nothing was saved")


def test_a_click_takes_a_mask_away_a_drag_adds_one_and_the_next_run_has_them(run, tmp_path):
    films, output = run
    (before,), known = masks(output), made(output)
    with Page(output / "report.html", tmp_path) as page:
        assert page.evaluate("document.getElementById('edits').hidden")
        ours = page.evaluate("[...document.querySelectorAll('.region')].findIndex((r) => r.dataset.start === '7')")
        region = page.evaluate(f"Object.assign({{}}, document.querySelectorAll('.region')[{ours}].dataset)")
        assert page.evaluate("document.querySelectorAll('.region[data-own]').length") == 1
        page.click(".region", ours)
        page.click("section summary")
        page.drag(".canvas", (0.1, 0.2), (0.3, 0.5))
        page.evaluate("document.querySelectorAll('.added input')[1].focus()")
        page.evaluate("document.querySelectorAll('.added input')[1].select()")
        page.send("Input.insertText", text="21")
        page.evaluate("document.activeElement.blur()")
        assert page.evaluate("document.getElementById('count').textContent") == "2 changes"
        edited = saved(page, tmp_path)
        assert page.errors == []
    settings = load_settings(Preprocess, edited)
    own, away, drawn = settings.masks
    assert settings.model_copy(update={"masks": []}) == load_settings(Preprocess, None, SETTINGS)
    assert own == OWN
    assert away.remove and away.box == json.loads(region["box"]) and (away.start, away.end) == (7, 41)
    assert not drawn.remove and (drawn.start, drawn.end) == (0, 21)
    assert np.abs(np.subtract(drawn.box, [18, 64, 36, 96])).max() <= 2
    command = [sys.executable, ROOT / "tools/preprocess.py", films, "--output", output, "--config", edited]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (after,) = masks(output)
    # What was found in the region's box has gone, what was drawn has come, and the rest is as it was.
    wanted = before.copy()
    top, left, height, width = away.box
    assert not before[20, top : top + height, left : left + width].all()
    wanted[away.start : away.end, top : top + height, left : left + width] = True
    top, left, height, width = drawn.box
    wanted[: drawn.end, top : top + height, left : left + width] = False
    assert np.array_equal(after, wanted)
    assert made(output) == known  # nothing was analysed or encoded again


def test_the_next_report_takes_changes_back(run, tmp_path):
    films, output = run
    settings = load_settings(Preprocess, None, SETTINGS)
    everywhere = MaskSettings(source="film*", box=[0, 0, 180, 320], remove=True)
    (before,) = masks(output)
    preprocess([films], output, settings.model_copy(update={"masks": [OWN, everywhere]}))
    (changed,) = masks(output)
    assert changed[:, 20:].all() and not before[:, 20:].all()
    with Page(output / "report.html", tmp_path) as page:
        cards = page.evaluate("[...document.querySelectorAll('.region')].map((r) => r.textContent)")
        assert [("taken away by you" in card, "your own mask" in card) for card in cards] == [
            (False, True),
            (True, False),
        ]
        assert "Not masked. Click to mask it again." in cards[1]
        page.click(".region", 1)
        page.click(".region", 0)
        page.click(".region", 0)  # kept after all
        assert page.evaluate("document.getElementById('count').textContent") == "1 change"
        again = saved(page, tmp_path)
        assert page.errors == []
    assert load_settings(Preprocess, again).masks == [OWN]
    preprocess([films], output, load_settings(Preprocess, again))
    assert np.array_equal(masks(output)[0], before)


def test_a_box_may_take_masks_away_or_be_deleted_and_a_click_draws_none(run, tmp_path):
    _, output = run
    with Page(output / "report.html", tmp_path) as page:
        page.click("section summary")
        page.click(".canvas")
        assert page.evaluate("document.querySelectorAll('.added li, .box').length") == 0
        page.drag(".canvas", (0.9, 0.95), (0.1, -0.2))  # beyond the frame's left end, upwards
        page.drag(".canvas", (0.1, 0.1), (0.3, 0.3))
        change = "const all = document.querySelectorAll('.added select'); all[0].value = 'away';"
        page.evaluate(f"{{ {change} all[0].dispatchEvent(new Event('change', {{bubbles: true}})) }}")
        states = page.evaluate("[...document.querySelectorAll('.region .state')].map((s) => s.textContent)")
        assert sum(state.startswith("Loses what lies") for state in states) == 2
        page.click(".added button", 1)
        edited = saved(page, tmp_path)
        assert page.evaluate("document.querySelectorAll('.box').length") == 1 and page.errors == []
    _, away = load_settings(Preprocess, edited).masks
    assert away.remove and (away.start, away.end) == (0, 48)
    top, left, height, width = away.box
    assert (abs(top - 18) <= 1, left, abs(height - 144) <= 2, abs(width - 304) <= 2) == (True, 0, True, True)
