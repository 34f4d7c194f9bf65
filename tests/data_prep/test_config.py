from pathlib import Path

import pytest

from data_prep.config import MaskSettings, Preprocess
from vidboot.errors import UserError
from vidboot.settings import load_settings

SHIPPED = Path(__file__).parents[2] / "configs" / "preprocess.yaml"


def test_the_shipped_file_shows_every_setting_with_its_default():
    import yaml

    assert load_settings(Preprocess, SHIPPED) == Preprocess()
    written = yaml.safe_load(SHIPPED.read_text())
    assert written == Preprocess().model_dump(mode="json")


def test_the_digest_tells_what_changes_the_store_apart_from_what_does_not():
    plain = Preprocess()
    assert Preprocess(workers=3).digest() == plain.digest()
    assert Preprocess(height=64).digest() != plain.digest()
    assert load_settings(Preprocess, None, ["store.crf=13"]).digest() != plain.digest()
    mask = MaskSettings(source="a.mp4", box=[0, 0, 20, 20])
    assert Preprocess(masks=[mask]).digest() == plain.digest()
    assert mask.digest() != mask.model_copy(update={"end": 5}).digest()


def test_views_must_be_ordered():
    with pytest.raises(UserError, match="full_frames"):
        load_settings(Preprocess, None, ["views.clip_frames=20", "views.full_frames=10"])
