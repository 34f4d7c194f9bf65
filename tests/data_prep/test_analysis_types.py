import json

import numpy as np
import pytest
from footage import analysed, moving_scene, segment, write

from data_prep.analysis_types import Analysis, AnalysisRecords, Overlay, Span, Text, pack
from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.text.tickers import Ticker


def full() -> Analysis:
    covered = np.random.default_rng(0).random((20, 33)) > 0.5
    return analysed(
        100,
        spans=(Span(0, 40, (0, 0, 360, 640)), Span(41, 100, (40, 0, 280, 640))),
        segments=(segment(0, 41, moving=False), segment(41, 100, moving=True, motion=1 / 3)),
        texts=(Text(3, 9, (10, 20, 30, 53), pack(covered), sure=True, probability=0.1 + 0.2, why="<letters>"),),
        overlays=(Overlay(0, 100, pack(np.ones((360, 640), bool)), 0.15),),
        tickers=(Ticker(20, 80, 300, 330),),
        fingerprint=("00ff00ff00ff00ff",),
        seconds={"decoding": 1e-7},
    )


def test_an_analysis_is_the_same_after_it_was_written_as_json(tmp_path):
    found = full()
    assert Analysis.from_json(json.loads(json.dumps(found.to_json()))) == found
    records = AnalysisRecords(tmp_path)
    records.put("key", found)
    records.put("other", "no frames")
    assert records.get("key") == found == records.usable("key")
    assert records.get("other") == "no frames" and records.usable("other") is None
    assert records.get("none") is None
    area = found.texts[0].covered()
    assert area.shape == (20, 33) and np.array_equal(area, np.random.default_rng(0).random((20, 33)) > 0.5)


def test_the_picture_of_a_frame_is_that_of_its_shot():
    found = full()
    assert found.picture_at(39) == (0, 0, 360, 640) and found.picture_at(41) == (40, 0, 280, 640)
    assert found.picture_at(40) == found.picture


@pytest.mark.parametrize(
    "damage", [lambda r: r.pop("segments"), lambda r: r.update(spans=[[0, 20]]), lambda r: r.update(refused=5, size=7)]
)
def test_a_record_of_another_shape_is_made_anew(tmp_path, damage):
    film = write(tmp_path / "a.mp4", moving_scene(0, 20))
    views = Preprocess().views.model_copy(update={"clip_frames": 8, "full_frames": 32})
    settings = Preprocess(height=36, width=64, workers=1, views=views)
    before = preprocess([film], tmp_path / "out", settings)
    (file,) = (tmp_path / "out/analysis").glob("*.json")
    good = json.loads(file.read_text())
    record = json.loads(file.read_text())
    damage(record)
    file.write_text(json.dumps(record))
    again = preprocess([film], tmp_path / "out", settings)
    made = json.loads(file.read_text())
    assert again.new == 1 and list(again.manifest) == list(before.manifest)
    assert {**made, "seconds": 0} == {**good, "seconds": 0}
