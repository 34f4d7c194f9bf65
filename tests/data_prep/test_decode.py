import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from footage import moving_scene, write

from data_prep.decode import Converter, grey, pictures, probe, raw_frames
from vidboot.data.video import VideoError, read_frames


def test_probe_reads_size_rate_and_length(tmp_path):
    about = probe(write(tmp_path / "a.mp4", moving_scene(0, 30), rate=25))
    assert (about.height, about.width, about.fps, about.declared_frames) == (72, 128, 25.0, 30)
    assert (about.codec, about.duration, about.notes) == ("h264", pytest.approx(1.2), ())


def test_frames_are_numbered_in_display_order_with_their_times(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(20, 90, 40))
    path = write(tmp_path / "vfr.mp4", moving_scene(1, 40), times=times.tolist())
    found = list(pictures(path, probe(path)))
    assert [p.number for p in found] == list(range(40))
    assert np.allclose(np.diff([p.seconds for p in found]), np.diff(times) / 1000, atol=1e-3)
    assert np.array_equal(found[17].image, read_frames(path)[17])


# A transport stream is not here: it says nowhere how long it is, so a cut one is simply a shorter one.
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_truncated_file_is_refused_and_a_whole_one_is_not(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", moving_scene(0, 120), rate=24, g="12")
    if suffix == ".mp4":
        faststart(path)
    assert len(list(pictures(path, probe(path)))) == 120
    cut = tmp_path / f"cut{suffix}"
    data = path.read_bytes()
    cut.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(VideoError, match=r"truncated|damaged"):
        list(pictures(cut, probe(cut)))


def faststart(path):
    """Copy with the index in front, so that a cut file still opens."""
    moved = path.with_name("moved.mp4")
    with av.open(str(path)) as source, av.open(str(moved), "w", options={"movflags": "+faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    moved.replace(path)


def with_sound(path, frames, seconds):
    """A film of `frames` pictures, 24 a second, and a sound of other length."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=24), container.add_stream("aac", rate=48000)
        video.height, video.width, video.pix_fmt = 72, 128, "yuv420p"
        for image in moving_scene(0, frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(video.encode(None))
        for number in range(50 * seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 960 * number
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("tagged", [True, False])
def test_sound_that_is_longer_than_the_picture_makes_no_truncated_file(tmp_path, tagged):
    path = with_sound(tmp_path / "a.mkv", 48, 3)
    if not tagged:
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"SOMETAGS"))
    about = probe(path)
    assert about.duration == (pytest.approx(2.0, abs=0.05) if tagged else 0)
    assert len(list(raw_frames(path, about))) == 48


def test_the_shape_of_pixels_is_the_containers_if_it_says_one(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=24)
        stream.height, stream.width, stream.pix_fmt = 72, 128, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for image in moving_scene(0, 4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    assert probe(path).pixel_aspect == pytest.approx(4 / 3)


def test_flipped_bytes_are_refused(tmp_path):
    path = write(tmp_path / "a.mp4", moving_scene(0, 120))
    data = bytearray(path.read_bytes())
    generator = np.random.default_rng(0)
    for position in generator.integers(2000, len(data) - 6000, 60):
        data[position] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(VideoError, match="damaged"):
        list(pictures(path, probe(path)))


def test_ten_bits_grey_and_transparency_are_read_and_noted(tmp_path):
    scene = moving_scene(0, 4)
    for codec, pixels, note in [
        ("ffv1", "yuv420p10le", "10 bits"),
        ("ffv1", "gray", None),
        ("ffv1", "yuva444p", "transparency dropped"),
    ]:
        path = tmp_path / f"{pixels}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=24)
            stream.height, stream.width, stream.pix_fmt = 72, 128, pixels
            for image in scene:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        about = probe(path)
        assert note is None or note in " ".join(about.notes)
        images = [p.image for p in pictures(path, about)]
        assert len(images) == 4 and images[0].shape == (72, 128, 3)
        tolerance = 4 if pixels != "gray" else 80
        assert np.abs(images[0].mean() - scene[0].mean()) < tolerance


def tagged(path, tags):
    """The stream of a film with other numbers for kinds of colour in its headers (options of `h264_metadata`)."""
    plain = write(path.with_suffix(".mp4"), moving_scene(0, 8))
    with av.open(plain) as source, av.open(path, "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        to_tagged = BitStreamFilterContext(f"h264_metadata={tags}", stream, copy)
        for packet in source.demux(stream):
            for changed in to_tagged.filter(packet if packet.dts is not None else None):
                changed.stream = copy
                target.mux(changed)
    return path


def test_colours_that_have_no_way_to_rgb_are_refused(tmp_path):
    strange = tagged(tmp_path / "strange.mkv", "matrix_coefficients=14")
    with pytest.raises(VideoError, match="colour space 14"):
        list(raw_frames(strange, probe(strange)))


def test_a_file_without_pictures_names_what_it_has(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"no video stream .only: audio"):
        probe(path)


def test_a_file_of_a_codec_that_nobody_decodes_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", moving_scene(0, 8))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"encv"))
    with pytest.raises(VideoError, match="no decoder for its codec"):
        probe(path)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "nv12", "yuv444p", "yuv420p10le", "gray", "rgb24"])
def test_grey_pictures_are_what_ffmpeg_makes_of_the_frame(pixels):
    # 130 wide: rows of a plane do not follow one another without a gap.
    image = np.random.default_rng(0).integers(0, 256, (72, 130, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
    assert np.array_equal(grey(frame, Converter("gray")), frame.to_ndarray(format="gray"))


def test_grey_levels_beyond_black_and_white_are_cut_off():
    levels = np.full((72, 64), 128, np.uint8)
    levels[:48] = np.linspace(0, 255, 48 * 64).reshape(48, 64)
    frame = av.VideoFrame.from_ndarray(levels, format="yuv420p")
    stretched = np.clip((levels[:48] - 16.0) * 255 / 219, 0, 255)
    assert np.abs(grey(frame, Converter("gray")) - stretched).max() <= 0.5


def test_a_rate_that_is_but_the_clock_is_measured(tmp_path):
    """Frames 40 ms apart in a file that declares 1000 a second, as recorders of browsers do."""
    path = tmp_path / "recorded.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 40 * number, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(path).fps == pytest.approx(25, rel=0.01)


@pytest.mark.parametrize(
    ("turn", "mirrored"),
    [((1, 0, 0, 1), False), ((0, 1, -1, 0), False), ((-1, 0, 0, 1), True), ((1, 0, 0, -1), True), ((0, 1, 1, 0), True)],
)
def test_mirrored_films_are_refused_and_turned_ones_are_not(tmp_path, turn, mirrored):
    """The display matrix of the track's header, a b u c d v x y w, as ISO 14496-12 has it."""
    path = write(tmp_path / "a.mp4", moving_scene(0, 5))
    data = bytearray(path.read_bytes())
    a, b, c, d = (65536 * value for value in turn)
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    if mirrored:
        with pytest.raises(VideoError, match="mirrored"):
            probe(path)
    else:
        assert probe(path).rotation in (0, -90, 90)


def test_a_recording_that_begins_between_key_frames_is_read_from_the_first_one(tmp_path):
    whole = write(tmp_path / "a.mp4", moving_scene(0, 40), g="12")
    cut = tmp_path / "cut.ts"
    with av.open(str(whole)) as container, av.open(str(cut), "w", format="mpegts") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
        assert len(keys) > 1
        for packet in packets[3:]:
            packet.stream = copy
            out.mux(packet)
    frames = [picture.image for picture in pictures(cut, probe(cut))]
    expected = read_frames(whole)[keys[1] :]
    assert len(frames) == len(expected)
    assert np.abs(np.stack(frames).astype(int) - expected).mean() < 1
