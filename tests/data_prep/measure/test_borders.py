import av
import cv2
import numpy as np
import pytest
from footage import TRAILER, moving_scene, write

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.measure.borders import BorderFinder
from data_prep.video.decode import probe
from vidboot.data.video import VideoError, read_frames


def test_bars_are_exact_also_with_text_inside_them():
    finder = BorderFinder(180, 320)
    for image in moving_scene(0, 20, 180, 320).mean(axis=-1):
        image[:23] = image[160:] = 0
        image[165:175, 100:220:3] = 255
        finder.feed(image.astype(np.uint8))
    assert finder.picture() == (23, 0, 137, 320)


def test_the_dark_part_of_a_picture_is_no_bar_and_a_grey_bar_is_one():
    dark, barred = BorderFinder(180, 320), BorderFinder(180, 320)
    noise = np.random.default_rng(0).integers(2, 22, (180, 400), dtype=np.uint8)
    for number, image in enumerate(moving_scene(0, 20, 180, 320).mean(axis=-1).astype(np.uint8)):
        image[100:] = noise[100:, number : number + 320]
        dark.feed(image)
        image[100:] = 16
        image[150:160, 60:190:2] = 255
        barred.feed(image)
    assert dark.picture() == (0, 0, 180, 320)
    assert barred.picture() == (0, 0, 100, 320)


@pytest.mark.parametrize("bars", [(22, 20, 0, 0), (0, 0, 31, 33), (16, 24, 8, 8)])
def test_bars_of_a_compressed_film_are_within_a_row_also_with_subtitle_and_logo_inside(tmp_path, bars):
    top, bottom, left, right = bars
    film = np.zeros((60, 180, 320, 3), np.uint8)
    inside = read_frames(TRAILER)[300:360]
    for image, shown in zip(film, inside, strict=True):
        size = (320 - left - right, 180 - top - bottom)
        image[top : 180 - bottom, left : 320 - right] = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
        if bottom:
            cv2.putText(image, "Where are you going?", (70, 176), 0, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        cv2.putText(image, "TV", (4, 14), 0, 0.5, (200, 200, 60), 2, cv2.LINE_AA)
    path = write(tmp_path / "film.mp4", film, crf="28")
    found, _ = analyse(path, probe(path), Preprocess(text={"detector": "opencv"}))
    edges = [top, left, 180 - bottom, 320 - right]
    y, x, rows, columns = found.picture
    assert np.abs(np.subtract([y, x, y + rows, x + columns], edges)).max() <= 1


def test_a_strip_of_light_as_thin_as_its_blur_is_looked_into(tmp_path):
    film = np.zeros((20, 120, 160, 3), np.uint8)
    film[:, 57:63] = moving_scene(0, 20, 120, 160)[:, 57:63] // 32 + 248
    path = write(tmp_path / "strip.mp4", film)
    found, _ = analyse(path, probe(path), Preprocess(text={"detector": "opencv"}))
    top, _, rows, _ = found.picture
    assert found.frames == 20 and top >= 55 and top + rows <= 65


@pytest.mark.parametrize("size", [(1, 64), (8, 1200), (8, 64)])
def test_a_picture_of_a_few_rows_is_refused_or_looked_into(tmp_path, size):
    height, width = size
    with av.open(tmp_path / "thin.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for image in moving_scene(0, 20, height, width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    about = probe(tmp_path / "thin.mkv")
    if size == (8, 64):
        assert analyse(tmp_path / "thin.mkv", about, Preprocess(text={"detector": "opencv"}))[0].frames == 20
        return
    with pytest.raises(VideoError, match=f"{height}×{width} pixels is too narrow"):
        analyse(tmp_path / "thin.mkv", about, Preprocess(text={"detector": "opencv"}))
