"""Find where text may be with a neural detector: DB, as shipped by the package `rapidocr-onnxruntime`, in `cv2.dnn`."""

import importlib.util
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from data_prep.config import TextSettings
from data_prep.text.track import TALLEST, Box
from vidboot.errors import UserError

_MODEL = Path("models/ch_PP-OCRv4_det_infer.onnx")
# Constants of the detector's own post-processing (Liao et al. 2020, arXiv 1911.08947): least probability of a pixel,
# least mean probability of a box, and by how much to enlarge boxes, because it is trained to predict shrunk ones.
_PIXEL, _BOX, _UNCLIP = 0.3, 0.5, 1.6
# Largest line of text, as a share of the picture's area.
_LARGEST = 0.12


def model_path() -> Path | None:
    """The model file, or None if the package is not installed."""
    package = importlib.util.find_spec("rapidocr_onnxruntime")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / _MODEL
    return path if path.is_file() else None


def model_for(settings: TextSettings) -> Path | None:
    """The model file if it is to be used, else None; raises `UserError` if the settings require a missing model."""
    path = None if settings.detector == "opencv" else model_path()
    if path is None and settings.detector == "model":
        raise UserError("text.detector=model needs the extra: pip install 'vidboot[ocr]', or set text.detector=opencv")
    return path


@cache
def _network(path: Path) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromONNX(str(path))


def find_with_model(image_HW: np.ndarray, path: Path) -> list[Box]:
    """Boxes of lines of text in one grey picture, uint8 `H W`."""
    height, width = image_HW.shape
    rows, columns = (max(32, round(side / 32) * 32) for side in (height, width))
    picture = cv2.cvtColor(cv2.resize(image_HW, (columns, rows)), cv2.COLOR_GRAY2BGR)
    network = _network(path)
    network.setInput(cv2.dnn.blobFromImage(picture, 1 / 127.5, mean=(127.5, 127.5, 127.5)))
    probability = network.forward()[0, 0]
    count, labels, stats, _ = cv2.connectedComponentsWithStats((probability > _PIXEL).astype(np.uint8))
    means = np.bincount(labels.ravel(), probability.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    boxes = []
    for (left, top, wide, tall, _), mean in list(zip(stats, means, strict=True))[1:]:
        if mean < _BOX or min(wide, tall) < 3:
            continue
        grow = _UNCLIP * wide * tall / (2 * (wide + tall))
        box = np.array([top - grow, left - grow, top + tall + grow, left + wide + grow])
        box *= np.array([height / rows, width / columns] * 2)
        y0, x0, y1, x1 = np.clip(np.round(box), 0, [height, width] * 2).astype(int).tolist()
        if y1 - y0 < TALLEST * height and (y1 - y0) * (x1 - x0) < _LARGEST * height * width:
            boxes.append((y0, x0, y1, x1))
    return boxes
