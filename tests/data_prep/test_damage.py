"""None of 200 files, damaged in different ways, stops the run; each is named with the reason."""

import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from footage import titled_films, write

from data_prep.config import Preprocess
from data_prep.run import preprocess
from vidboot.data.video import read_frames

EACH = 25


def truncated(path: Path, data: bytes, number: int) -> None:
    path.write_bytes(data[: len(data) * (5 + 3 * number) // 100])


def flipped(path: Path, data: bytes, number: int) -> None:
    """Change bytes of the coded pictures, which lie between the headers (PyAV writes the index at the end)."""
    generator, changed = np.random.default_rng(number), bytearray(data)
    for position in generator.integers(len(data) // 10, len(data) * 7 // 10, 40 + 4 * number):
        changed[position] ^= int(generator.integers(1, 256))
    path.write_bytes(changed)


def empty(path: Path, data: bytes, number: int) -> None:
    path.write_bytes(b"")


def wrong_extension(path: Path, data: bytes, number: int) -> None:
    kind = number % 5
    if kind == 0:
        path.write_text("a text that calls itself a film\n" * 50 * number)
    elif kind == 1:
        path.write_bytes(cv2.imencode(".png", np.full((40, 40, 3), number, np.uint8))[1].tobytes())
    elif kind == 2:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("film.txt", "nothing" * number)
    elif kind == 3:
        path.write_bytes(np.random.default_rng(number).bytes(50_000))
    else:
        path.write_bytes(cv2.imencode(".jpg", np.full((40, 40, 3), number, np.uint8))[1].tobytes())


def sound_only(path: Path, data: bytes, number: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        wave = np.sin(np.arange(48000, dtype=np.float32) * 0.01 * (number + 1))[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def no_key_frame(path: Path, data: bytes, number: int) -> None:
    source = path.with_suffix(".source.mkv")
    source.write_bytes(data)
    with av.open(str(source)) as container, av.open(str(path), "w") as target:
        stream = container.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = copy
                target.mux(packet)
    source.unlink()


def no_index(path: Path, data: bytes, number: int) -> None:
    """Rename or cut off the box `moov`, without which an mp4 can't be read."""
    at = data.rindex(b"moov")
    path.write_bytes(data[: at - 4] if number % 2 else data.replace(b"moov", b"xxxx"))


def hole(path: Path, data: bytes, number: int) -> None:
    """Zeros in the middle, as after a failed download or disk."""
    changed = bytearray(data)
    at = len(data) * (20 + number) // 100
    changed[at : at + len(data) // 6] = bytes(len(data) // 6)
    path.write_bytes(changed)


DAMAGES = [truncated, flipped, empty, wrong_extension, sound_only, no_key_frame, no_index, hole]


@pytest.mark.slow
def test_two_hundred_damaged_files_are_each_named_and_none_stops_the_run(tmp_path):
    films = tmp_path / "films"
    whole = titled_films(tmp_path / "whole", 5)
    sources = [path.read_bytes() for path in whole]
    (films / "good.mp4").parent.mkdir()
    (films / "good.mp4").write_bytes(sources[0])
    copies = [write(path.with_suffix(".mkv"), read_frames(path), g="24").read_bytes() for path in whole]
    for damage in DAMAGES:
        for number in range(EACH):
            matroska = damage is no_key_frame or (damage in (truncated, hole) and number % 2)
            path = films / f"{damage.__name__}{number:02}{'.mkv' if matroska else '.mp4'}"
            damage(path, (copies if matroska else sources)[number % 5], number)
    damaged = {path.name for path in films.iterdir()} - {"good.mp4"}
    assert len(damaged) == 200
    settings = Preprocess(height=36, width=64, workers=2, text={"detector": "opencv"})
    outcome = preprocess([films], tmp_path / "out", settings)
    assert {Path(shot.source).name for shot in outcome.manifest} == {"good.mp4"}
    reasons = {Path(item.what.split(" frames ")[0]).name: item.reason for item in outcome.set_aside}
    assert reasons.keys() == damaged
    assert all(reasons.values()) and not any("Traceback" in reason for reason in reasons.values())
