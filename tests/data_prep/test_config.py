from pathlib import Path

import pytest

from data_prep.config import MaskSettings, Preprocess
from data_prep.run import preprocess
from data_prep.text import model
from vidboot.errors import UserError
from vidboot.settings import load_settings

SHIPPED = Path(__file__).parents[2] / "configs" / "preprocess.yaml"


def test_the_shipped_file_shows_every_setting_with_its_default():
    import yaml

    assert load_settings(Preprocess, SHIPPED) == Preprocess()
    written = yaml.safe_load(SHIPPED.read_text())
    assert written == Preprocess().model_dump(mode="json")


def test_the_digest_tells_what_changes_the_store_apart_from_what_does_not():
    plain = Preprocess().digest(has_model=False)
    assert Preprocess(workers=3).digest(has_model=False) == plain
    assert Preprocess(height=64).digest(has_model=False) != plain
    assert load_settings(Preprocess, None, ["store.crf=13"]).digest(has_model=False) != plain
    assert Preprocess().digest(has_model=True) != plain
    mask = MaskSettings(source="a.mp4", box=[0, 0, 20, 20])
    assert Preprocess(masks=[mask]).digest(has_model=False) == plain
    assert mask.digest() != mask.model_copy(update={"end": 5}).digest()


def test_views_must_be_ordered():
    with pytest.raises(UserError, match="full_frames"):
        load_settings(Preprocess, None, ["views.clip_frames=20", "views.full_frames=10"])


def test_a_text_model_that_is_asked_for_and_missing_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "model_path", lambda: None)
    settings = load_settings(Preprocess, None, ["text.detector=model"])
    with pytest.raises(UserError, match=r"text.detector=model needs the extra"):
        preprocess([tmp_path], tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()
    assert model.model_for(Preprocess().text) is None
