from pathlib import Path

import pytest

from data_prep.config import MaskSettings, Preprocess
from data_prep.masking import matching
from data_prep.report.edits import mask_line, pattern_of, settings_for_page
from vidboot.settings import load_settings


def written(page: dict) -> str:
    """The settings as the page's script writes them."""
    return page["rest"] + "masks:\n" + "".join(f"- {line}\n" for line in page["own"])


@pytest.mark.parametrize("name", ["a.mp4", "a [1]*?.mp4", "ä 'b' \"c\" \\ #1: {x}.mp4", "${height} $x $$.mp4", "-.mp4"])
def test_settings_are_read_back_and_a_pattern_fits_its_file_alone(tmp_path, name):
    masks = [
        MaskSettings(source=pattern_of(Path("/films") / name), box=[0, 1, 2, 3], start=4, end=5, remove=True),
        MaskSettings(source=name, picture=f"/pictures/{name}", replace=True),
    ]
    settings = load_settings(Preprocess, None, ["height=40", "views.max_blockiness=3.5", "text.detector=opencv"])
    settings = settings.model_copy(update={"masks": masks})
    file = tmp_path / "edited.yaml"
    file.write_text(written(settings_for_page(settings)))
    assert load_settings(Preprocess, file) == settings
    # Of files with similar names the pattern fits one.
    files = [Path("/films") / name, Path("/films") / f"x{name}", Path("/other") / name, Path("/films/a 1xy.mp4")]
    assert [matching(masks[:1], file) for file in files] == [[0], [], [], []]


def test_only_what_is_no_default_is_written():
    assert settings_for_page(Preprocess()) == {"rest": "", "own": []}
    assert mask_line(MaskSettings(source="b*", box=[0, 1, 2, 3])) == '{source: "b*", box: [0, 1, 2, 3]}'
