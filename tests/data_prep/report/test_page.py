import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import looks
import numpy as np
import pytest
from chromium import CHROMIUM, Page
from footage import analysed, probed, titled_films

from data_prep.analysis_types import Text, pack
from data_prep.config import MaskSettings, Preprocess
from data_prep.masking import covered_spans
from data_prep.report.page import VideoPage, contact_sheet, tile, video_block, write_page
from data_prep.report.pictures import close_up, place
from data_prep.report.regions import Region, masked_regions
from data_prep.work.scan import SetAside

GOLDEN = Path(__file__).parents[2] / "data" / "contact_sheet.png"


def page() -> VideoPage:
    """Five frames of a gradient with bars of 12 rows, a text in the first two, and a shared overlay."""
    rows, columns = np.mgrid[0:180, 0:320]
    pictures = {
        10 * k: np.stack([rows + 10 * k, columns * 0.7, 255 - rows], -1).clip(0, 255).astype(np.uint8) for k in range(5)
    }
    text = Text(
        0,
        15,
        (140, 60, 160, 260),
        pack(np.ones((20, 200), bool)),
        sure=True,
        probability=0.874,
        why="letters & <lines>",
    )
    doubtful = dataclasses.replace(text, start=15, end=60, sure=False)
    pooled = np.zeros((180, 320), bool)
    pooled[20:40, 270:310] = True
    found = analysed(60, probe=probed(180, 320), size=(180, 320), picture=(12, 0, 156, 320), texts=(text, doubtful))
    verdicts = [(0, 40, "masked", "burnt-in text or overlay"), (40, 60, "uncertain", "too little <motion> & light")]
    shots = [(0, 60, (12, 0, 156, 320))]
    return VideoPage(
        name="a <b>film</b> & more.mp4",
        analysis=found,
        width=320,
        tiles=[(number, tile(picture)) for number, picture in pictures.items()],
        pictures=pictures,
        drawable=[(30, 0, 60)],
        regions=masked_regions(found, pooled, Path("a.mp4"), Preprocess(), shots),
        shots=shots,
        spans=list(covered_spans(found, pooled)),
        verdicts=verdicts,
    )


def test_the_contact_sheet_is_the_golden_image():
    golden = cv2.imread(str(GOLDEN))[..., ::-1].astype(int)
    sheet = contact_sheet(page()).astype(int)
    assert sheet.shape == golden.shape
    assert np.abs(sheet - golden).max() <= 3


def test_the_page_is_self_contained_and_escapes_names(tmp_path):
    write_page(tmp_path / "report.html", [video_block(page())], Preprocess(), [SetAside("x<y>.mp4", "a & b")])
    text = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt;film&lt;/b&gt; &amp; more.mp4" in text and "x&lt;y&gt;.mp4" in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)


def test_a_region_has_its_kind_frames_probability_and_reason(tmp_path):
    write_page(tmp_path / "report.html", [video_block(page())], Preprocess())
    text = re.sub(r"\s+", " ", (tmp_path / "report.html").read_text())
    assert "<b>text</b>, 87 %; frames 0 to 15 (0.0 to 0.6 s)</span> <span>letters &amp; &lt;lines&gt;</span>" in text
    assert "<b>overlay</b>, rules only; frames 0 to 60 (0.0 to 2.5 s)</span>" in text
    assert text.count("data:image/webp") == 2 * 2 + 1  # two regions, each enlarged and in its frame; a frame to draw in


def test_settings_can_not_end_the_pages_script(tmp_path):
    mask = MaskSettings(source="</script><b>.mp4", box=[0, 1, 2, 3])
    write_page(tmp_path / "report.html", [video_block(page())], Preprocess(masks=[mask]))
    (data,) = re.findall(r'id="settings">(.*?)</script>', (tmp_path / "report.html").read_text())
    assert json.loads(data)["own"] == ['{source: "</script><b>.mp4", box: [0, 1, 2, 3]}']


def test_pictures_of_a_region_show_it_enlarged_and_in_its_place():
    image = np.zeros((180, 320, 3), np.uint8)
    image[40:60, 100:140] = (0, 255, 0)
    region = Region("overlay", 0, 10, (40, 100, 60, 140), np.ones((20, 40), bool), None, "")
    enlarged, small = close_up(image, region), place(image, region.box)
    # 20 rows and a margin of 10 at each side, 3.75 times enlarged: as tall as is allowed.
    assert enlarged.shape[:2] == (150, 225) and small.shape == (90, 160, 3)
    assert (enlarged[75, 112] == (0, 255, 0)).all() and (enlarged[5, 5] == 0).all()
    assert (enlarged[37:39, 112] == (230, 40, 40)).all(axis=1).any()  # the outline
    assert (small[20, 60] == (230, 40, 40)).all() and (small[25, 60] == (0, 255, 0)).all() and not small[10, 10].any()


def test_the_page_tells_what_is_remarkable_and_where_the_time_went(tmp_path):
    block = {**video_block(page()), "remarks": ["looks like <other>.mp4"]}
    write_page(
        tmp_path / "report.html", [block], Preprocess(), stages=[("decoding", 0.256, 812.4), ("all", 1.0, 208.0)]
    )
    text = (tmp_path / "report.html").read_text()
    assert "<p>looks like &lt;other&gt;.mp4</p>" in text
    assert "<td>decoding</td><td>26 %</td><td>812</td>" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_opens_the_page_without_errors(tmp_path):
    path = tmp_path / "report.html"
    write_page(
        path, [video_block(page())], Preprocess(), [SetAside("x.mp4", "too short")], [("clip", "masked", 1, 0.5)]
    )
    with looks.opened(path, tmp_path) as opened:
        said = opened.evaluate("document.body.innerText")
        assert "Preprocessing report" in said and "too short" in said
    # The same check finds the errors of a broken page.
    path.write_text("<script>missing()</script><img src='gone.png'>")
    with Page(path, tmp_path) as opened:
        assert len(opened.errors) == 2


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
