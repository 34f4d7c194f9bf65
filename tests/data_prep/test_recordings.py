"""Recordings of broadcasts: they begin anywhere, and their clock jumps."""

import av
import numpy as np
import pytest
from footage import moving_scene, write

from data_prep.config import Preprocess
from data_prep.video.decode import pictures, probe
from data_prep.video.store import Stretch, store_shots
from vidboot.data.video import VideoError, read_frames

# As in broadcasts: headers before each key frame, and groups of 25 frames, closed or open.
KINDS = {
    "h264": ("libx264", {"x264-params": "bframes=3:keyint=25:scenecut=0:repeat-headers=1"}),
    "h264 open": ("libx264", {"x264-params": "bframes=3:keyint=25:scenecut=0:repeat-headers=1:open-gop=1"}),
    "hevc open": (
        "libx265",
        {"x265-params": "log-level=0:pools=none:frame-threads=1:keyint=25:open-gop=1:repeat-headers=1"},
    ),
}


def copied(source, target, skip=0, end=None, jump=0):
    """Copy the packets `skip` to `end` of a transport stream; the clock jumps by so many seconds halfway."""
    with av.open(source) as old, av.open(target, "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size]
        for number, packet in enumerate(packets[skip:end]):
            if number >= len(packets) // 2:
                packet.pts, packet.dts = packet.pts + 90000 * jump, packet.dts + 90000 * jump
            packet.stream = copy
            new.mux(packet)
    return target


@pytest.fixture(scope="module", params=KINDS)
def on_air(request, tmp_path_factory):
    codec, options = KINDS[request.param]
    path = tmp_path_factory.mktemp("air") / "whole.ts"
    return write(path, moving_scene(0, 80), rate=25, codec=codec, **options)


@pytest.mark.parametrize("skip", [1, 10, 24, 25, 26])
def test_a_recording_that_begins_between_key_frames_is_read_from_the_first_whole_picture_on(on_air, tmp_path, skip):
    cut = copied(on_air, tmp_path / "cut.ts", skip)
    about = probe(cut)
    found = [picture.image for picture in pictures(cut, about)]
    # All frames up to the end, equal to those of the whole file: the decoder guessed none.
    assert len(found) >= 80 - 51
    assert np.array_equal(found, read_frames(on_air)[-len(found) :])
    lost = 80 - skip - len(found)
    assert about.notes == ((f"pictures at the beginning that need earlier ones, left out: {lost}",) if lost else ())
    assert np.array_equal(read_frames(cut), found)


def test_a_recording_without_any_key_frame_is_refused_with_the_reason(on_air, tmp_path):
    cut = copied(on_air, tmp_path / "cut.ts", 55, 70)
    with pytest.raises(VideoError, match="none of its frames can be decoded"):
        probe(cut)


def test_damage_right_after_the_first_key_frame_is_no_beginning_between_key_frames(on_air, tmp_path):
    with av.open(on_air) as source, av.open(tmp_path / "a.ts", "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                if number in (1, 2):
                    data = bytearray(bytes(packet))
                    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
                    broken = av.Packet(bytes(data))
                    broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                    packet = broken
                packet.stream = copy
                target.mux(packet)
    with pytest.raises(VideoError, match="damaged"):
        list(pictures(tmp_path / "a.ts", probe(tmp_path / "a.ts")))


def test_a_jump_of_the_clock_within_a_shot_changes_no_frame_rate(tmp_path):
    whole = write(tmp_path / "whole.ts", moving_scene(0, 60), rate=25, codec="mpeg2video", bf="2")
    path = copied(whole, tmp_path / "jump.ts", jump=1000)
    settings = Preprocess(height=36, width=64)
    about = probe(path)
    parts = [Stretch(0, 10, tmp_path / "0.mp4"), Stretch(10, 60, tmp_path / "1.mp4")]
    rates, _ = store_shots(path, about, parts, (0, 0, 72, 128), settings)
    assert rates == [25.0, 25.0]


def test_a_shot_that_is_slower_than_the_file_says_has_its_own_rate(tmp_path):
    times = np.cumsum([40] * 30 + [125] * 30)
    path = write(tmp_path / "a.mkv", moving_scene(0, 60), rate=25, times=times.tolist())
    parts = [Stretch(0, 30, tmp_path / "0.mp4"), Stretch(31, 60, tmp_path / "1.mp4")]
    rates, _ = store_shots(path, probe(path), parts, (0, 0, 72, 128), Preprocess(height=36, width=64))
    assert rates == [pytest.approx(25, rel=0.02), pytest.approx(8, rel=0.02)]
