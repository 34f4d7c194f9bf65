import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from footage import moving_scene, write

from data_prep.video.cropping import Cropper, turned_back


def in_format(image, pixels):
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)


@pytest.mark.parametrize(
    "pixels", ["yuv420p", "yuvj420p", "yuv420p10le", "nv12", "yuv410p", "yuva444p", "gray", "gbrp"]
)
@pytest.mark.parametrize(("top", "left"), [(8, 16), (7, 13)])
def test_a_part_is_averaged_whatever_holds_it(pixels, top, left):
    # Blocks of 4 × 4 pixels, one for each pixel of the result, in colours that change slowly.
    rows, columns = np.mgrid[:20, :40]
    coarse = np.stack([40 + 5 * rows, 200 - 3 * columns, 60 + 3 * rows + columns], axis=-1).astype(np.uint8)
    image = np.full((96, 192, 3), 128, np.uint8)
    image[top : top + 80, left : left + 160] = coarse.repeat(4, axis=0).repeat(4, axis=1)
    small = Cropper((top, left, 80, 160), 20, 40)(in_format(image, pixels)).astype(float)
    expected = coarse.astype(float)
    if pixels == "gray":
        expected = (expected @ [0.299, 0.587, 0.114])[..., None].repeat(3, axis=-1)
    # At its edges, the part shares chroma samples with its surroundings.
    difference = (small - expected)[2:-2, 2:-2]
    assert np.abs(difference).max() <= 4 and np.abs(difference.mean(axis=(0, 1))).max() < 1.5


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv422p", "yuva420p", "nv12"])
def test_a_picture_that_is_stored_at_its_own_size_is_whole(pixels):
    # A width of 100 is no multiple of the number of pixels that a processor converts at once.
    frame = in_format(np.full((60, 100, 3), 128, np.uint8), pixels)
    same = Cropper((0, 0, 60, 100), 60, 100)(frame)
    assert same.shape == (60, 100, 3) and np.abs(same.astype(int) - 128).max() <= 2


def test_a_film_that_lies_on_its_side_is_stored_whole_at_its_own_size(tmp_path):
    plain = write(tmp_path / "plain.mp4", np.full((8, 60, 100, 3), 128, np.uint8))
    with av.open(plain) as source, av.open(tmp_path / "turned.mkv", "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        turn = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", stream, copy)
        for packet in source.demux(stream):
            for changed in turn.filter(packet if packet.dts is not None else None):
                changed.stream = copy
                target.mux(changed)
    with av.open(tmp_path / "turned.mkv") as turned:
        frame = next(turned.decode(video=0))
    assert frame.rotation % 180 == 90
    same = Cropper((0, 0, 100, 60), 100, 60)(frame)
    assert same.shape == (100, 60, 3) and np.abs(same.astype(int) - 128).max() <= 1


def test_a_small_part_is_enlarged_smoothly():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    large = Cropper((10, 20, 10, 20), 40, 80)(in_format(image, "gbrp"))[20, :, 0].astype(int)
    assert (np.diff(large) >= 0).all() and (large[:36] == 0).all() and (large[44:] == 200).all()
    assert len(np.unique(large)) > 3


def test_a_change_of_format_within_a_file_is_followed():
    image = moving_scene(0, 1)[0]
    cropper = Cropper((0, 0, 72, 128), 36, 64)
    one, other = cropper(in_format(image, "yuv444p")), cropper(in_format(image, "gbrp"))
    assert np.abs(one.astype(int) - other).mean() < 2


@pytest.mark.parametrize("turns", range(4))
def test_what_lies_where_before_a_turn(turns):
    lying = np.arange(12 * 20).reshape(12, 20)
    standing = np.rot90(lying, turns)
    top, left, rows, columns = turned_back((2, 3, 5, 6), standing.shape, turns)
    assert np.array_equal(np.rot90(lying[top : top + rows, left : left + columns], turns), standing[2:7, 3:9])
