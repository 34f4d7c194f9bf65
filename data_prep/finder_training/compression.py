"""Compress frames as the web does, and read them back as preprocessing reads videos."""

import io
import platform

import av
import cv2
import numpy as np
from numpy.random import Generator

from data_prep.finder.maps import Sample
from data_prep.video.decode import STRETCHED

# With AVX-512, x264's macroblock tree reads memory that nobody has set (seen in the build that PyAV 18.1 brings), so
# the same frames give other bits each time. SSE4.2 and AVX2 agree, and give the same bits always.
_REPEATABLE = {"x264-params": "asm=SSE4.2"} if platform.machine() in {"x86_64", "AMD64"} else {}


def samples_of(rng: Generator, frames_THWC: np.ndarray) -> list[Sample]:
    """The samples that the finder gets of BGR frames: compressed once, now and then at a smaller size or twice."""
    height, width = frames_THWC.shape[1:3]
    if rng.random() < 0.2:
        frames_THWC = np.stack([planes_to_bgr(planes) for planes in compressed(rng, frames_THWC)])
    scale = rng.uniform(0.35, 1) if rng.random() < 0.35 else 1.0
    size = max(16, 2 * round(width * scale / 2)), max(16, 2 * round(height * scale / 2))
    if size != (width, height):
        frames_THWC = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames_THWC])
    planes = compressed(rng, frames_THWC) if rng.random() < 0.9 else [_planes(f) for f in map(_frame, frames_THWC)]
    return [sample_of(*three, height, width) for three in planes]


def sample_of(grey: np.ndarray, u: np.ndarray, v: np.ndarray, height: int, width: int) -> Sample:
    """A sample of this size, from planes of any size."""
    half = max(1, width // 2), max(1, height // 2)
    grey = grey if grey.shape == (height, width) else cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = np.stack([cv2.resize(c, half, interpolation=cv2.INTER_LINEAR) for c in (u, v)])
    return Sample(grey, colours)


def compressed(rng: Generator, frames_THWC: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Planes Y (full range), U, V of the frames after H.264, MPEG-4 or MPEG-2 of some quality."""
    codec = str(rng.choice(["libx264", "mpeg4", "mpeg2video"], p=[0.85, 0.1, 0.05]))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25, options=_quality(rng, codec))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # With more threads, the same frames can give other bits.
        stream.thread_count = 1
        for frame in map(_frame, frames_THWC):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as written:
        return [_planes(frame) for frame in written.decode(video=0)]


def _quality(rng: Generator, codec: str) -> dict[str, str]:
    """Options of FFmpeg's encoder for a quality between next to lossless and poor."""
    if codec == "libx264":
        preset = str(rng.choice(["ultrafast", "veryfast"]))
        return {"crf": str(int(rng.integers(17, 36))), "preset": preset, **_REPEATABLE}
    # These have no constant quality of their own: the quantiser is fixed, whatever the bit rate.
    quantiser = str(int(rng.integers(2, 14)))
    return {"flags": "+qscale", "qmin": quantiser, "qmax": quantiser}


def _frame(picture: np.ndarray) -> av.VideoFrame:
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _planes(frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brightness in full range at full size, and the two colours at half of it."""
    flat = frame.to_ndarray()
    height, width = frame.height, frame.width
    quarter = height * width // 4
    colours = flat.reshape(-1)[height * width :]
    u, v = (colours[n * quarter : (n + 1) * quarter].reshape(height // 2, width // 2) for n in (0, 1))
    return cv2.LUT(flat[:height], STRETCHED), u, v


def planes_to_bgr(planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """A BGR picture of planes."""
    y, u, v = planes
    limited = cv2.convertScaleAbs(y, None, 219 / 255, 16)
    flat = np.concatenate([limited.ravel(), u.ravel(), v.ravel()]).reshape(-1, y.shape[1])
    return cv2.cvtColor(flat, cv2.COLOR_YUV2BGR_I420)
