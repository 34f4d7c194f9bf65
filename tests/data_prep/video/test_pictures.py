"""What frames are, beyond their bytes: the shape of pixels, half pictures, the meaning of colours."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from footage import moving_scene, write

from data_prep.config import Preprocess
from data_prep.tasks import AnalyseJob, analyse_video
from data_prep.video.cropping import Cropper
from data_prep.video.decode import Converter, pictures, probe, raw_frames
from vidboot.data.video import VideoError, VideoWriter, iter_frames


def wide(path, aspects, codec="libx264", count=20, **options):
    """Films one after the other in one transport stream or raw stream, each with its own shape of pixels."""
    parts = []
    for number, aspect in enumerate(aspects):
        part = path.with_name(f"part{number}{path.suffix}")
        with av.open(str(part), "w", format={".m2v": "mpeg2video", ".h264": "h264"}.get(path.suffix)) as container:
            stream = container.add_stream(codec, rate=25, options={"threads": "1", **options})
            stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
            stream.codec_context.sample_aspect_ratio = aspect
            for image in moving_scene(number, count, 96, 160):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [(".ts", "libx264", {}), (".ts", "libx264", {"bf": "0"}), (".ts", "mpeg2video", {"bf": "2"}),
     (".m2v", "mpeg2video", {}), (".h264", "libx264", {})],
)  # fmt: skip
def test_a_shape_of_pixels_that_changes_is_refused_like_a_size_that_does(tmp_path, suffix, codec, options):
    square, four_three = Fraction(1), Fraction(16, 11)
    changing = wide(tmp_path / f"a{suffix}", [square, four_three], codec, **options)
    with pytest.raises(VideoError, match=r"the shape of its pixels changes at about frame (1[5-9]|2[0-4])"):
        list(raw_frames(changing, probe(changing)))
    for aspects in ([square, square], [four_three, four_three], [Fraction(16, 11), Fraction(64, 45)]):
        same = wide(tmp_path / f"b{suffix}", aspects, codec, **options)
        assert len(list(raw_frames(same, probe(same)))) == 40


def combed(path, start, count=24):
    """A bright bar that has moved on in each second half picture, from frame `start` on; progressive before.

    Returns the frames as they would be without the second half pictures.
    """
    mixed, whole = [], []
    for number in range(count):
        first, second = np.full((2, 96, 160, 3), 40, np.uint8)
        first[:, 4 + 6 * number : 12 + 6 * number] = 220
        second[:, 7 + 6 * number : 15 + 6 * number] = 220
        whole.append(first)
        frame = first.copy()
        if number >= start:
            frame[::2] = second[::2]  # the encoder marks the odd rows as the earlier ones
        mixed.append(frame)
    parts = []
    for frames, flags in ((mixed[:start], {}), (mixed[start:], {"flags": "+ildct+ilme"})):
        if len(frames):
            part = path.with_name("part.ts")
            with av.open(str(part), "w") as container:
                stream = container.add_stream("mpeg2video", rate=25, options={"qmin": "2", "qmax": "3", **flags})
                stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
                for image in frames:
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return whole


@pytest.mark.parametrize("start", [0, 1, 13])
def test_interlaced_frames_are_named_wherever_they_begin_and_mended_on_demand(tmp_path, start):
    path = tmp_path / "a.ts"
    whole = combed(path, start)
    said = {}
    for deinterlace in (False, True):
        notes, about = [], probe(path, deinterlace)
        frames = [(number, Converter("rgb24")(frame)) for number, _, frame in raw_frames(path, about, notes)]
        assert [number for number, _ in frames] == list(range(24))
        (said[deinterlace],) = notes
        wrong = [np.abs(image.astype(int) - whole[number]).mean() for number, image in frames]
        # Its neighbours before and after tell the filter what moves.
        assert max(wrong[:start], default=0) < 2
        assert max(wrong[start + 1 : -1]) < 2 if deinterlace else min(wrong[start:]) > 3
    where = f" at {24 - start} frames, from frame {start} on" if start else ""
    assert said == {False: f"interlaced{where}, not deinterlaced", True: f"interlaced{where}, deinterlaced"}


def test_the_remark_is_in_the_analysis_and_a_progressive_film_has_none(tmp_path):
    combed(tmp_path / "a.ts", 13)
    write(tmp_path / "b.mp4", moving_scene(0, 24))
    settings, notes = Preprocess(text={"detector": "opencv"}), {}
    for name in ("a.ts", "b.mp4"):
        notes[name] = analyse_video(AnalyseJob(tmp_path / name, name, settings, tmp_path)).found.probe.notes
    assert notes == {"a.ts": ("interlaced at 11 frames, from frame 13 on, not deinterlaced",), "b.mp4": ()}


def test_a_progressive_film_is_the_same_with_and_without_mending(tmp_path):
    path = write(tmp_path / "a.mp4", moving_scene(0, 24), bf="3")
    plain, mended = ([p.image for p in pictures(path, probe(path, way))] for way in (False, True))
    assert np.array_equal(plain, mended)


COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [220, 200, 40]], np.uint8)


def coloured(path, height, width, matrix, tag):
    """Four fields of colour, coded by `matrix` ("bt709" or "bt601"), whose headers say `tag`."""
    image = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(COLOURS):
        image[:, number * width // 4 : (number + 1) * width // 4] = colour
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
        if tag is not None:
            stream.codec_context.colorspace = tag
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format="yuv444p", dst_colorspace=matrix)
            if tag is None:
                frame.colorspace = 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_by(path):
    """The four colours, as each of the readers gives them."""
    about = probe(path)
    _, _, frame = next(raw_frames(path, about))
    height, width = frame.height, frame.width
    cropped = Cropper((0, 0, height, width), height // 2, width // 2)(frame)
    rgb, bgr = Converter("rgb24")(frame), Converter("bgr24", 160)(frame)[..., ::-1]
    return [picture[len(picture) // 2, picture.shape[1] // 8 :: picture.shape[1] // 4]
            for picture in (cropped, rgb, bgr, next(iter_frames(path)))]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "matrix", "tag", "noted"),
    [
        ((720, 1280), "ITU709", None, True),
        ((536, 1280), "ITU709", None, True),
        ((1280, 720), "ITU709", None, True),
        ((576, 720), "ITU601", None, False),
        ((96, 160), "ITU601", None, False),
        ((720, 1280), "ITU601", 5, False),
        ((96, 160), "ITU709", 1, False),
    ],
)
def test_colours_without_a_note_are_bt709_in_hd_and_bt601_below(tmp_path, size, matrix, tag, noted):
    path = coloured(tmp_path / "a.mp4", *size, matrix, tag)
    for colours in read_by(path):
        assert np.abs(colours.astype(int) - COLOURS).max() <= 4
    assert ("HD without a note on its colours, read as BT.709" in probe(path).notes) == noted


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (64, 96)])
def test_what_is_written_says_how_its_colours_are_coded(tmp_path, height, width):
    image = np.repeat(COLOURS[None], height, axis=0).repeat(width // 4, axis=1)
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(image)
    with av.open(tmp_path / "a.mp4") as container:
        frame = next(container.decode(video=0))
    yuv = frame.to_ndarray()[:height].astype(float)
    back = next(iter_frames(tmp_path / "a.mp4"))[height // 2, width // 8 :: width // 4]
    assert int(frame.colorspace) in (5, 6) and np.abs(back.astype(int) - COLOURS).max() <= 6
    # BT.601's weights of red, green and blue in brightness.
    luma = 16 + 219 / 255 * COLOURS @ np.array([0.299, 0.587, 0.114])
    assert np.abs(yuv[height // 2, width // 8 :: width // 4] - luma).max() <= 3
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[1].shape == (height, width, 3)
