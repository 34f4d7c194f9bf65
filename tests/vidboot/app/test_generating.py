"""Samples as the page makes them, compared with those of the command."""

import json

import numpy as np
import pytest
from PIL import Image

from vidboot.app.generating import Studio, Wanted, generate
from vidboot.app.request import AppRequest
from vidboot.data.video import read_frames
from vidboot.errors import UserError
from vidboot.model.run_folder import save


def finish(updates):
    """All updates, and the result."""
    seen = []
    while True:
        try:
            seen.append(next(updates))
        except StopIteration as end:
            return seen, end.value


def test_it_is_the_sample_of_the_command_with_its_record(studio, small_run, main_of, tmp_path):
    seen, made = finish(generate(studio, Wanted(frames=5, seed=3), tmp_path))
    assert [update.text for update in seen] == [f"{n} of 18 steps" for n in range(1, 19)]
    theirs = tmp_path / "theirs.mp4"
    assert main_of("generate", "--run", small_run, "--frames", 5, "--seed", 3, "--output", theirs) == 0
    assert made.read_bytes() == theirs.read_bytes()
    mine, other = (json.loads(path.with_suffix(".json").read_text()) for path in (made, theirs))
    differs = {key for key in mine if mine[key] != other[key]}
    assert differs == {"output", "command"}


def test_a_long_video_grows_chunk_by_chunk(studio, tmp_path):
    """Its first chunk yields 10 frames, a later one 7."""
    seen, made = finish(generate(studio, Wanted(frames=20), tmp_path))
    assert [update.text for update in seen] == [f"{n} of 20 frames" for n in (10, 17, 20)]
    whole = read_frames(made)
    assert len(whole) == 20
    for update, count in zip(seen, (10, 17, 20), strict=True):
        assert np.array_equal(read_frames(update.video), whole[:count])


def test_a_photograph_of_any_size_is_the_first_frame(studio, tmp_path):
    Image.new("RGB", (300, 200), (250, 20, 20)).save(tmp_path / "photo.png")
    folder = tmp_path / "work"
    folder.mkdir()
    _, made = finish(generate(studio, Wanted(frames=4, init=tmp_path / "photo.png"), folder))
    frames = read_frames(made).astype(int)
    assert frames.shape == (4, 8, 8, 3)
    assert np.abs(frames[0].mean((0, 1)) - [250, 20, 20]).max() < 12  # an ordinary mp4 rounds


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(frames=0), "the length is 1 to 60"),
        (Wanted(frames=61), "the length is 1 to 60"),
        (Wanted(frames=4, seed=-1), "the seed is 0 to"),
        (Wanted(frames=4, class_name="cat"), "has no class 'cat'"),
    ],
)
def test_fields_out_of_range_are_refused(studio, tmp_path, wanted, says):
    with pytest.raises(UserError, match=says):
        finish(generate(studio, wanted, tmp_path))


def test_weights_that_have_changed_are_read_again(tmp_path):
    from small_model import small_model

    model = small_model()
    save(model, tmp_path / "run")
    studio = Studio(AppRequest(run=tmp_path / "run"), tmp_path)
    before = studio.model
    assert studio.model is before
    for parameter in model.views["clip"].parameters():
        parameter.add_(1.0)
    save(model, tmp_path / "run")
    now = next(studio.model.views["clip"].parameters())
    assert (now - next(before.views["clip"].parameters()) - 1).abs().max() < 1e-5
