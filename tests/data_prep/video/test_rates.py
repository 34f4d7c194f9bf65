"""The frame rate of files of many kinds, whose headers and times say other things than their pictures."""

from fractions import Fraction

import av
import numpy as np
import pytest
from footage import moving_scene

from data_prep.config import Preprocess
from data_prep.video.decode import probe, raw_frames
from data_prep.video.store import StoredShot, store_shots
from vidboot.data.video import VideoError

COUNT = 60
SCENE = moving_scene(0, COUNT, 48, 64)
FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


def film(path, rate, codec="libx264", times=None, unit=None, **options):
    """A film of 60 pictures; `times`: in steps of the rate, or of `unit` seconds, as the container stores them."""
    muxer = {".h264": "h264", ".hevc": "hevc", ".m2v": "mpeg2video", ".mjpeg": "mjpeg"}.get(path.suffix)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate, options={"threads": "1", **options})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        unit = unit or 1 / Fraction(rate)
        if times is not None:
            stream.codec_context.time_base = stream.time_base = unit
        for number, image in enumerate(SCENE):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[number]), unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shifted(source, target, shift):
    """A copy whose packets' times (seconds) are changed by `shift(number, display and decoding time)`."""
    with av.open(str(source)) as old, av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        unit = stream.time_base
        for number, packet in enumerate(p for p in old.demux(stream) if p.size):
            pts, dts = shift(number, float(packet.pts * unit), float(packet.dts * unit))
            packet.pts, packet.dts, packet.stream = round(pts / unit), round(dts / unit), copy
            new.mux(packet)
    return target


def rates(path, folder, spans=((0, COUNT),)):
    """The rate of the whole file and those of its stored parts."""
    about = probe(path)
    settings = Preprocess(height=48, width=64)
    shots = [StoredShot(start, end, (0, 0, 48, 64), folder / f"part{start}.mp4") for start, end in spans]
    stored, _ = store_shots(path, about, shots, settings)
    return [about.fps, *stored]


MADE = [
    *((s, rate, "libx264", {"bf": "3"}) for s in (".mp4", ".mov", ".mkv") for rate in (FILM, 25, 60)),
    *((s, rate, "libx264", {"bf": "3"}) for s in (".avi", ".h264", ".ts") for rate in (FILM, 25, 60)),
    *((s, rate, "libx264", {"bf": "0"}) for s in (".mkv", ".h264", ".avi") for rate in (12, NTSC, 50, 120)),
    (".webm", 24, "libvpx-vp9", {}),
    (".webm", NTSC, "libvpx-vp9", {}),
    (".webm", 120, "libvpx-vp9", {}),
    (".mp4", 15, "libx264", {"bf": "16", "b-pyramid": "none"}),
    (".hevc", 50, "libx265", {"x265-params": "log-level=0:pools=none:frame-threads=1"}),
    (".hevc", FILM, "libx265", {"x265-params": "log-level=0:pools=none:frame-threads=1"}),
    (".m2v", NTSC, "mpeg2video", {"bf": "2"}),
    (".mpg", 25, "mpeg2video", {"bf": "2"}),
    (".avi", 30, "mpeg4", {"bf": "2"}),
    (".flv", 30, "flv", {}),
    (".wmv", 24, "wmv2", {}),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "rate", "codec", "options"), MADE)
def test_every_container_has_the_rate_of_its_pictures(tmp_path, suffix, rate, codec, options):
    path = film(tmp_path / f"a{suffix}", rate, codec, **options)
    assert rates(path, tmp_path, ((0, 31), (31, COUNT))) == pytest.approx([float(rate)] * 3, rel=1e-3)


def gap(number):
    return number + (500 if number >= 30 else 0)


def gaps(number):
    return number + 30 * (number // 9)


def stale_first(number):
    return number + (90000 if number else 0)


def late_first(number):
    return number + (3 if number else 0)


def duplicates(number):
    return number - number % 2


def triples(number):
    return number - number % 3


def dropped(number):
    return number + number // 11


@pytest.mark.parametrize("way", [gap, gaps, stale_first, late_first, duplicates, triples, dropped])
@pytest.mark.parametrize(("suffix", "rate"), [(".mp4", 25), (".mkv", 24), (".mkv", 50)])
def test_times_that_are_wrong_at_some_frames_change_no_rate(tmp_path, way, suffix, rate):
    times = [way(number) for number in range(COUNT)]
    if suffix == ".mp4" and way in (duplicates, triples):
        pytest.skip("mp4 holds no frames of no duration")
    whole = film(tmp_path / f"whole{suffix}", rate, bf="0")
    path = shifted(whole, tmp_path / f"a{suffix}", lambda number, *_: [times[number] / rate] * 2)
    assert rates(path, tmp_path) == pytest.approx([rate] * 2, rel=1e-3)


@pytest.mark.parametrize("start", [-1.0, 2**33 / 90000 - 1])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3"}])
def test_times_below_zero_and_a_clock_that_wraps_change_no_rate(tmp_path, start, options):
    suffix = ".mp4" if start < 0 else ".ts"
    whole = film(tmp_path / f"whole{suffix}", 25, **options)
    path = shifted(whole, tmp_path / f"a{suffix}", lambda _, pts, dts: (pts + start, dts + start))
    assert rates(path, tmp_path, ((0, 30),)) == pytest.approx([25] * 2, rel=1e-3)


def test_a_recording_whose_clock_starts_again_has_its_rate(tmp_path):
    first = film(tmp_path / "a.ts", 25, "mpeg2video")
    path = tmp_path / "twice.ts"
    path.write_bytes(2 * first.read_bytes())
    assert rates(path, tmp_path, ((0, 2 * COUNT),)) == pytest.approx([25] * 2, rel=1e-3)


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3"}])
def test_times_of_all_frames_are_kept_in_display_order_or_nearly_so(tmp_path, options):
    path = film(tmp_path / "a.avi", 30, **options)
    times = [seconds for _, seconds, _ in raw_frames(path, probe(path))]
    assert sorted(times) == pytest.approx(np.arange(COUNT) / 30 + min(times))


def test_a_raw_stream_that_says_no_rate_is_told(tmp_path):
    options = "log-level=0:pools=none:frame-threads=1"
    silent = film(tmp_path / "a.hevc", 50, "libx265", **{"x265-params": f"{options}:vui-timing-info=0"})
    assert probe(silent).notes == ("says no frame rate, read as 25 a second",)
    assert probe(film(tmp_path / "b.hevc", 50, "libx265", **{"x265-params": options})).notes == ()


def test_pictures_that_are_days_apart_are_no_film(tmp_path):
    path = film(tmp_path / "a.mkv", 25, times=np.arange(COUNT) * 86_400_000, unit=Fraction(1, 1000), bf="0")
    with pytest.raises(VideoError, match="no film: its pictures are 86400 seconds apart"):
        probe(path)
    slow = film(tmp_path / "slow.mkv", 25, times=np.arange(COUNT) * 5000, unit=Fraction(1, 1000), bf="0")
    assert rates(slow, tmp_path) == pytest.approx([0.2] * 2, rel=1e-3)
