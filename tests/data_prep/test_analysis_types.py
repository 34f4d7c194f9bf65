import json

import numpy as np
import pytest
from footage import analysed, moving_scene, segment, write

from data_prep.analysis_types import Analysis, AnalysisRecords, Brief, Overlay, Span, Text, pack
from data_prep.config import MaskSettings, Preprocess
from data_prep.run import preprocess
from data_prep.text.tickers import Ticker
from data_prep.work.store import open_store, packed, unpacked


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
    with open_store(tmp_path) as store:
        records = AnalysisRecords(store)
        records.put("key", found)
        records.put("other", "no frames")
        assert records.usable("key") == found and records.usable("other") is None
        brief = Brief(100, 24.0, (360, 640), (), ((20, 80),), bytes.fromhex("00ff00ff00ff00ff"), {"decoding": 1e-7})
        assert dict(records.briefs(["key", "other", "none"])) == {"key": brief, "other": "no frames"}
    area = found.texts[0].covered()
    assert area.shape == (20, 33) and np.array_equal(area, np.random.default_rng(0).random((20, 33)) > 0.5)


def test_the_picture_of_a_frame_is_that_of_its_shot():
    found = full()
    assert found.picture_at(39) == (0, 0, 360, 640) and found.picture_at(41) == (40, 0, 280, 640)
    assert found.picture_at(40) == found.picture


@pytest.mark.parametrize("table", ["briefs", "analyses", "stored"])
@pytest.mark.parametrize("damage", [lambda record: packed(record)[:-9], lambda record: packed([5])])
def test_a_record_that_is_damaged_is_made_anew(in_process, tmp_path, table, damage):
    film, output = write(tmp_path / "in/a.mp4", moving_scene(0, 20)), tmp_path / "out"
    settings = Preprocess(height=36, width=64, workers=1, views={"clip_frames": 8, "full_frames": 32})
    before = preprocess([film], output, settings)
    with open_store(output) as store:
        (key,) = store.keys(table)
        good = unpacked(store.get(table, key))
        store.put(table, key, damage(good))
    # Another film, so that there is something to do; and other masks, for which the analysis is needed.
    other = write(tmp_path / "in/b.mp4", moving_scene(1, 20))
    masks = {"masks": [MaskSettings(source="*.mp4", box=[0, 0, 9, 9])]} if table == "analyses" else {}
    for _ in range(2):
        again = preprocess([film, other], output, settings.model_copy(update=masks))
    assert len(again.manifest) == 2 and again.manifest[0].id == before.manifest[0].id and again.set_aside == []
    with open_store(output) as store:
        assert unpacked(store.get(table, key)).keys() == good.keys()
