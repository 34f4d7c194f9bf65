import itertools

import cv2
import numpy as np
import pytest
from footage import TRAILER, grey_scene, write

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.decode import probe
from data_prep.masking import verdict
from vidboot.data.video import read_frames


def test_a_still_shot_with_a_logo_is_not_clean_because_another_shot_moves(tmp_path):
    still = cv2.resize(read_frames(TRAILER, [600])[0], (640, 360))
    cv2.circle(still, (580, 50), 28, (255, 255, 255), 5)
    cv2.putText(still, "TV", (562, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 3, cv2.LINE_AA)
    moving = np.repeat(grey_scene(1, 240)[..., None], 3, axis=-1)
    film = np.concatenate([moving, np.repeat(still[None], 100, axis=0)])
    path = write(tmp_path / "film.mp4", film, preset="ultrafast")
    found, _ = analyse(path, probe(path), Preprocess(text={"detector": "opencv"}))
    assert found["spans"] == [(0, 240), (240, 340)] and found["moving"]
    # What is found of the texts is another matter.
    verdicts = [verdict(found | {"texts": []}, False, span, False)[0] for span in found["spans"]]
    assert verdicts == ["clean", "uncertain"]
    assert verdict(found | {"texts": []}, True, (240, 340), False)[0] == "clean"


@pytest.mark.parametrize(
    ("frames", "motion", "said"), [(50, 3.0, "clean"), (50, 0.1, "uncertain"), (400, 3.0, "uncertain")]
)
def test_a_film_of_many_shots_tells_of_a_short_one_that_is_no_still_picture(frames, motion, said):
    edges = [0, frames, *range(frames + 50, 1001, 50)]
    segments = [
        {"start": start, "end": end, "moving": False, "quality": {"motion": 4.0 if start else motion}}
        for start, end in itertools.pairwise(edges)
    ]
    found = {"frames": 1000, "moving": True, "segments": segments, "overlays": [], "texts": [], "tickers": []}
    assert verdict(found, False, (0, frames), False)[0] == said
    assert verdict(found, False, (frames, frames + 50), False)[0] == "clean"
    assert verdict(found | {"moving": False}, False, (frames, frames + 50), False)[0] == "uncertain"
