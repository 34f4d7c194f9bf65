"""Small videos for the tests, written with PyAV directly, so that nothing under test makes its own input."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TRAILER = Path(__file__).parents[1] / "data" / "big_buck_bunny_trailer.mp4"


def moving_scene(seed: int, num_frames: int, height: int = 72, width: int = 128) -> np.ndarray:
    """A textured picture that drifts steadily: one shot, uint8 `T H W C`."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + num_frames // 4 + 3, 3), dtype=np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height]
    return np.stack([texture[:, 2 * t : 2 * t + width] for t in range(num_frames)])


def write(
    path: Path, frames: np.ndarray, *, times=None, rate: int = 24, codec: str = "libx264", **options: str
) -> Path:
    """Encode RGB frames; `times` (in 1/1000 s) makes the frame rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "16", "threads": "1", **options})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
