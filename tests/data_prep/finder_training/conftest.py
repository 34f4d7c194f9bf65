"""Small made backgrounds: videos, photographs, the font that comes with matplotlib, and marks drawn by OpenCV."""

import shutil
from pathlib import Path

import av
import cv2
import matplotlib
import numpy as np
import pytest


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """A picture with many details of all sizes, BGR uint8."""
    rng = np.random.default_rng(seed)
    made = np.full((height, width, 3), 110, np.float32)
    for side in (4, 16, 64):
        small = rng.normal(0, 30, (height // side + 2, width // side + 2, 3)).astype(np.float32)
        made += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(made, 0, 255).astype(np.uint8)


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 3_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))


def marks() -> np.ndarray:
    drawn = np.zeros((5, 128, 128), np.uint8)
    cv2.circle(drawn[0], (64, 64), 60, 255, -1)
    cv2.circle(drawn[1], (64, 64), 50, 255, 12)
    cv2.rectangle(drawn[2], (4, 30), (123, 97), 255, 10)
    cv2.fillPoly(drawn[3], [np.array([[64, 2], [125, 120], [3, 120]])], 255)
    cv2.line(drawn[4], (6, 6), (121, 121), 255, 14)
    cv2.line(drawn[4], (121, 6), (6, 121), 255, 14)
    return drawn


@pytest.fixture(scope="session")
def backgrounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the training wants it."""
    folder = tmp_path_factory.mktemp("backgrounds")
    for name in ("videos/made", "photos/made", "text_photos/made", "fonts"):
        (folder / name).mkdir(parents=True)
    for seed in (0, 1):
        wide = texture(seed, 192, 500)
        write_video(folder / f"videos/made/{seed}.mp4", [wide[:, 3 * n : 3 * n + 320] for n in range(60)])
    for seed in (2, 3, 4):
        cv2.imwrite(str(folder / f"photos/made/{seed}.jpg"), texture(seed, 480, 640))
    signs = texture(5, 480, 640)
    cv2.putText(signs, "EXIT 12", (120, 260), cv2.FONT_HERSHEY_DUPLEX, 3, (250, 250, 250), 8, cv2.LINE_AA)
    cv2.imwrite(str(folder / "text_photos/made/sign.png"), signs)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in ("DejaVuSans.ttf", "DejaVuSerif-Bold.ttf"):
        shutil.copy(fonts / name, folder / "fonts")
    np.savez_compressed(folder / "marks.npz", alpha=marks())
    return folder
