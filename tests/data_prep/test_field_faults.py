"""One run over a folder of files such as users met with: each is used, told, or refused by name."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from footage import moving_scene, write

from data_prep.config import Preprocess
from data_prep.report.outcome import Outcome
from data_prep.run import preprocess

VIEWS = {"clip_frames": 8, "full_frames": 64}
SETTINGS = Preprocess(height=48, width=64, workers=1, views=VIEWS, text={"detector": "opencv"})


def with_picture(path: Path, scene: np.ndarray) -> None:
    """A film and a larger single picture before it, which no flag says to be a cover."""
    with av.open(str(path), "w") as container:
        made = []
        for frames in (scene[:1].repeat(4, axis=1).repeat(4, axis=2), scene):
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            made.append((stream, frames))
        for stream, frames in made:
            for image in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode(None))


def wider_from_the_middle_on(path: Path) -> None:
    """A transport stream whose pixels change their shape."""
    data = b""
    for number, aspect in enumerate((Fraction(1), Fraction(4, 3))):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 72, 128, "yuv420p"
            stream.codec_context.sample_aspect_ratio = aspect
            for image in moving_scene(20 + number, 20):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode(None))
        data += path.read_bytes()
    path.write_bytes(data)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Outcome:
    """What the run said."""
    folder = tmp_path_factory.mktemp("field")
    films = folder / "in"
    write(films / "one_picture.mp4", moving_scene(0, 1))
    write(films / "days.mkv", moving_scene(1, 12), times=(np.arange(12) * 40_000_000).tolist())
    gap = np.arange(40) * 20 + 9000 * (np.arange(40) >= 17)
    write(films / "gap.mkv", moving_scene(2, 40), times=gap.tolist())
    write(films / "parts/0.ts", moving_scene(3, 24), rate=25)
    (films / "parts/all.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.96,\n0.ts\n#EXT-X-ENDLIST\n")
    (films / "parts/all.ffconcat").write_text("ffconcat version 1.0\nfile 0.ts\n")
    with_picture(films / "cover.mov", moving_scene(4, 40))
    wider_from_the_middle_on(films / "wider.ts")
    return preprocess([films], folder / "out", SETTINGS)


def test_what_is_no_film_of_its_own_is_named_with_the_reason(outcome):
    reasons = {item.what.rsplit("/", 1)[-1]: item.reason for item in outcome.set_aside}
    shape = reasons.pop("wider.ts")
    assert reasons == {
        "one_picture.mp4 frames 0 to 1": "too short (a clip needs 8 frames)",
        "days.mkv": "no film: its pictures are 40000 seconds apart",
        "all.m3u8": "a list of other files",
        "all.ffconcat": "a list of other files",
    }
    assert shape.startswith("the shape of its pixels changes at about frame")


def test_the_others_are_stored_whole_and_at_their_rate(outcome):
    stored = {Path(shot.source).name: (shot.num_frames, round(shot.fps, 3)) for shot in outcome.manifest}
    assert stored == {"gap.mkv": (40, 50), "0.ts": (24, 25), "cover.mov": (40, 25)}
    remarks = {Path(item.what).name: item.text for item in outcome.remarks}
    assert remarks["cover.mov"] == "single pictures beside the film, left out: 1"
