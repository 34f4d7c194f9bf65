import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import analysed, titled_films

from data_prep.analysis_types import Text, pack
from data_prep.masking import covered_spans
from data_prep.report.page import VideoPage, contact_sheet, tile, video_block, write_page
from data_prep.work.scan import SetAside

GOLDEN = Path(__file__).parents[2] / "data" / "contact_sheet.png"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def page() -> VideoPage:
    """Five frames of a gradient with bars of 12 rows, a text in the first two, and a shared overlay."""
    rows, columns = np.mgrid[0:180, 0:320]
    tiles = [
        (10 * k, tile(np.stack([rows + 10 * k, columns * 0.7, 255 - rows], -1).clip(0, 255).astype(np.uint8)))
        for k in range(5)
    ]
    text = Text(0, 15, (140, 60, 160, 260), pack(np.ones((20, 200), bool)), sure=True)
    doubtful = dataclasses.replace(text, start=15, end=60, sure=False)
    pooled = np.zeros((180, 320), bool)
    pooled[20:40, 270:310] = True
    found = analysed(60, size=(180, 320), picture=(12, 0, 156, 320), texts=(text, doubtful))
    verdicts = [(0, 40, "masked", "burnt-in text or overlay"), (40, 60, "uncertain", "too little <motion> & light")]
    return VideoPage("a <b>film</b> & more.mp4", found, 320, tiles, list(covered_spans(found, pooled)), verdicts)


def test_the_contact_sheet_is_the_golden_image():
    golden = cv2.imread(str(GOLDEN))[..., ::-1].astype(int)
    sheet = contact_sheet(page()).astype(int)
    assert sheet.shape == golden.shape
    assert np.abs(sheet - golden).max() <= 3


def test_the_page_is_self_contained_and_escapes_names(tmp_path):
    write_page(tmp_path / "report.html", [video_block(page())], [SetAside("x<y>.mp4", "a & b")])
    text = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt;film&lt;/b&gt; &amp; more.mp4" in text and "x&lt;y&gt;.mp4" in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)


def test_the_page_tells_what_is_remarkable_and_where_the_time_went(tmp_path):
    block = {**video_block(page()), "remarks": ["looks like <other>.mp4"]}
    write_page(tmp_path / "report.html", [block], [], stages=[("decoding", 0.256, 812.4), ("all", 1.0, 208.0)])
    text = (tmp_path / "report.html").read_text()
    assert "<p>looks like &lt;other&gt;.mp4</p>" in text
    assert "<td>decoding</td><td>26 %</td><td>812</td>" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_opens_the_page_without_errors(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, [video_block(page())], [SetAside("x.mp4", "too short")], [("clip", "masked", 1, 0.5)])
    document, errors = opened(path)
    assert "<h1>Preprocessing report</h1>" in document and "too short" in document
    assert errors == []
    # The same check finds the errors of a broken page.
    path.write_text("<script>missing()</script><img src='gone.png'>")
    assert opened(path)[1]


def opened(path: Path) -> tuple[str, list[str]]:
    """The document as Chromium parsed it, and the lines of its console."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    folder = f"--user-data-dir={path.parent / 'profile'}"
    done = subprocess.run([CHROMIUM, *options, folder, path.as_uri()], capture_output=True, text=True, timeout=90)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_preview_draws_some_videos_and_stores_nothing(tmp_path):
    films = tmp_path / "films"
    titled_films(films, 3)
    tool = Path(__file__).parents[3] / "tools/preprocess.py"
    options = ["--output", tmp_path / "out", "--preview", 2, "text.detector=opencv", "workers=1"]
    done = subprocess.run([sys.executable, str(tool), str(films), *map(str, options)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/preview.html").read_text()
    assert re.findall(r"<h2>(film\d).mp4</h2>", text) == ["film0", "film1"]
    assert text.count("data:image/jpeg") == 2 and 'class="masked"' in text
    assert not list((tmp_path / "out").rglob("*.mp4")) and not (tmp_path / "out/manifest.parquet").exists()
