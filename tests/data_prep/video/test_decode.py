import gc
from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.stream import Disposition
from footage import moving_scene, oriented, write

from data_prep.video.cropping import Cropper
from data_prep.video.decode import Converter, grey, pictures, probe, raw_frames
from vidboot.data.video import VideoError, iter_frames, read_frames


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


@pytest.mark.parametrize(("suffix", "jitter"), [(".mkv", 0), (".mkv", 9), (".webm", 9)])
def test_a_rate_that_is_only_the_clocks_is_not_believed(tmp_path, suffix, jitter):
    times = 40 * np.arange(90) + np.random.default_rng(0).integers(0, jitter + 1, 90)
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    path = write(tmp_path / f"a{suffix}", moving_scene(0, 90), rate=1000, times=times.tolist(), codec=codec)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate > 900
    assert probe(path).fps == pytest.approx(25, rel=0.1)


def test_pictures_in_another_order_than_shown_and_long_pauses_change_no_rate(tmp_path):
    steps = np.full(90, 40)
    steps[::30] = 3000
    path = write(tmp_path / "a.mkv", moving_scene(0, 90), rate=1000, times=np.cumsum(steps).tolist(), bf="3")
    assert probe(path).fps == pytest.approx(25, rel=0.01)
    assert probe(write(tmp_path / "fast.mp4", moving_scene(0, 90), rate=240, bf="3")).fps == 240


def test_a_camcorders_tape_has_its_rate_and_is_whole(tmp_path):
    path = tmp_path / "tape.dv"
    with av.open(str(path), "w", format="dv") as container:
        stream = container.add_stream("dvvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = 576, 720, "yuv420p"
        for image in moving_scene(0, 30, 576, 720):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    about = probe(path)
    assert about.fps == pytest.approx(25) and len(list(raw_frames(path, about))) == 30


# No transport stream: it does not state its length, so a cut one is just shorter.
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
    """Move the index to the front, so that a cut file can still be opened."""
    moved = path.with_name("moved.mp4")
    with av.open(str(path)) as source, av.open(str(moved), "w", options={"movflags": "+faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    moved.replace(path)


def with_sound(path, frames, seconds):
    """A film of `frames` pictures, 24 per second, with sound of another length."""
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


def test_damage_is_told_with_the_last_frame_before_it(tmp_path):
    path = write(tmp_path / "a.mkv", moving_scene(0, 30), g="1", bf="0")
    with av.open(path) as container:
        coded = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    at, size = data.index(coded[12]), len(coded[12])
    data[at + size // 4 : at + size] = np.random.default_rng(0).bytes(size - size // 4)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="damaged after frame 11 "):
        list(raw_frames(path, probe(path)))


@pytest.mark.parametrize("matrix", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_mirrored_pictures_are_refused_and_not_turned(tmp_path, matrix):
    path = write(tmp_path / "a.mp4", moving_scene(0, 4))
    about = probe(path)
    oriented(path, *matrix)
    for read in (probe, lambda p: list(raw_frames(p, about))):
        with pytest.raises(VideoError, match="mirrored"):
            read(path)


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
    """A film whose headers state other colour properties, given as options of `h264_metadata`."""
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


@pytest.mark.parametrize("space", range(18))
def test_a_colour_space_is_refused_if_and_only_if_ffmpeg_cannot_convert_it(tmp_path, space):
    path = tagged(tmp_path / "a.mkv", f"matrix_coefficients={space}")
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    try:
        converts = Cropper((0, 0, 72, 128), 72, 128)(frame).shape == Converter("bgr24")(frame).shape
    except OSError:
        converts = False
    if converts:
        assert len(list(raw_frames(path, probe(path)))) == 8
    else:
        with pytest.raises(VideoError, match=f"colour space {space} "):
            list(raw_frames(path, probe(path)))


@pytest.mark.parametrize(("curve", "hdr"), [(1, False), (14, False), (16, True), (18, True)])
def test_high_dynamic_range_is_noted(tmp_path, curve, hdr):
    path = tagged(tmp_path / "a.mkv", f"transfer_characteristics={curve}")
    assert ("HDR, stored without tone mapping" in probe(path).notes) == hdr


def test_the_largest_of_several_streams_is_used_and_a_cover_is_none(tmp_path):
    path = tmp_path / "a.mp4"
    scenes = [moving_scene(0, 8), np.full((8, 144, 256, 3), 90, np.uint8), np.full((1, 400, 400, 3), 9, np.uint8)]
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=24) for codec in ("libx264", "libx264", "mjpeg")]
        for stream, scene in zip(streams, scenes, strict=True):
            stream.height, stream.width = scene.shape[1:3]
            stream.pix_fmt = "yuvj420p" if stream is streams[2] else "yuv420p"
        streams[2].disposition = Disposition.attached_pic
        for stream, scene in zip(streams, scenes, strict=True):
            for image in scene:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode(None))
    about = probe(path)
    assert (about.height, about.width) == (144, 256)
    assert about.notes == ("2 video streams, the largest one is used",)
    assert read_frames(path, [3]).shape == read_frames(path)[3:4].shape == (1, 144, 256, 3)


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
    # A width of 130 leaves gaps between the rows of a plane.
    image = np.random.default_rng(0).integers(0, 256, (72, 130, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
    assert np.array_equal(grey(frame, Converter("gray")), frame.to_ndarray(format="gray"))


def test_grey_levels_beyond_black_and_white_are_cut_off():
    levels = np.full((72, 64), 128, np.uint8)
    levels[:48] = np.linspace(0, 255, 48 * 64).reshape(48, 64)
    frame = av.VideoFrame.from_ndarray(levels, format="yuv420p")
    stretched = np.clip((levels[:48] - 16.0) * 255 / 219, 0, 255)
    assert np.abs(grey(frame, Converter("gray")) - stretched).max() <= 0.5


def test_a_frame_is_let_go_when_the_next_one_comes(tmp_path):
    """At once, not by Python's garbage collector: in Full HD a gigabyte of frames would wait for it."""
    path = write(tmp_path / "a.mp4", moving_scene(0, 40))
    gc.collect()
    gc.disable()
    try:
        for frames in (raw_frames(path, probe(path)), iter_frames(path)):
            for _ in frames:
                assert sum(type(thing) is av.VideoFrame for thing in gc.get_objects()) <= 10
    finally:
        gc.enable()
