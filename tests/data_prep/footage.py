"""Small videos for the tests, written with PyAV directly: the code under test must not make its own input."""

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from data_prep.analysis_types import Analysis, Segment
from data_prep.measure.quality import Quality
from data_prep.video.decode import Probe
from vidboot.data.video import read_frames

TRAILER = Path(__file__).parents[1] / "data" / "big_buck_bunny_trailer.mp4"
# The report's table of processing times, which differ from run to run.
_TIMES = re.compile(rb"<table><tr><th>stage</th>.*?</table>", re.DOTALL)


def results(output: Path) -> dict[str, bytes]:
    """The results of a preprocessing run: manifest, masks, shots and report, without processing times."""
    kept = [p for p in output.rglob("*") if p.suffix in (".parquet", ".tar", ".mp4", ".html")]
    read = {str(p.relative_to(output)): p.read_bytes() for p in kept if not p.name.startswith(".")}
    return {name: _TIMES.sub(b"", content) if name.endswith(".html") else content for name, content in read.items()}


def probed(height: int, width: int) -> Probe:
    """The headers of a film of this size at 24 frames/s."""
    return Probe(height, width, 1.0, 24.0, "h264", "yuv420p", 0, 0, 0.0)


def segment(start: int, end: int, moving: bool, motion: float = 4.0) -> Segment:
    """The frames between two cuts, of a sharp bright picture."""
    return Segment(start, end, moving, Quality(100.0, 1.0, motion, 100.0, 1.0))


def analysed(frames: int, **found: Any) -> Analysis:
    """The analysis of a film of 360 × 640 pixels in which nothing but `found` was found."""
    nothing = dict.fromkeys(("spans", "segments", "texts", "overlays", "tickers", "fingerprint"), ())
    size = {"probe": probed(360, 640), "size": (360, 640), "picture": (0, 0, 360, 640)}
    return Analysis(**{"frames": frames, "finder": "rules", "moving": True, "seconds": {}, **size, **nothing, **found})


def moving_scene(seed: int, num_frames: int, height: int = 72, width: int = 128) -> np.ndarray:
    """One shot, uint8 `T H W C`: a textured picture that drifts steadily."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + num_frames // 4 + 3, 3), dtype=np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height]
    return np.stack([texture[:, 2 * t : 2 * t + width] for t in range(num_frames)])


def write(
    path: Path, frames: np.ndarray, *, times=None, rate: int = 24, codec: str = "libx264", **options: str
) -> Path:
    """Encode RGB frames; with `times` (1/1000 s) the frame rate is variable."""
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


def titled_films(folder: Path, count: int, num_frames: int = 48) -> list[Path]:
    """Parts of the trailer, each with a burnt-in subtitle."""
    every = read_frames(TRAILER)
    paths = []
    for number in range(count):
        start = 250 + number * (len(every) - 250 - num_frames) // count
        frames = every[start : start + num_frames].copy()
        for image in frames[8:40]:
            for thickness, colour in ((5, (0, 0, 0)), (1, (255, 255, 255))):
                cv2.putText(image, f"This is film {number}", (60, 165), 0, 0.8, colour, thickness, cv2.LINE_AA)
        paths.append(write(folder / f"film{number}.mp4", frames))
    return paths


def oriented(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into an mp4: a point x, y is shown at ax + cy, bx + dy, shifted into the picture."""
    data = bytearray(path.read_bytes())
    # The 3×3 matrix of the track header is the last 44 bytes before the sizes.
    header = data.index(b"tkhd") + 4
    matrix = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    data[header + 40 : header + 76] = matrix
    path.write_bytes(data)
    return path


def loop(source: Path, target: Path, seconds: float) -> Path:
    """Repeat a video's packets until it is `seconds` long, without encoding."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        length = int(stream.duration)
        turns = math.ceil(seconds / float(length * stream.time_base))
        with av.open(str(target), "w") as out:
            copy = out.add_stream_from_template(stream)
            for turn in range(turns):
                container.seek(0)
                for packet in container.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + turn * length, packet.dts + turn * length
                        packet.stream = copy
                        out.mux(packet)
    return target


def grey_scene(seed, num_frames):
    """A soft texture that drifts fast enough to tell static overlays from it."""
    noise = np.random.default_rng(seed).integers(0, 256, (60, 300), dtype=np.uint8)
    wide = cv2.resize(noise, (3600, 360), interpolation=cv2.INTER_CUBIC) // 2 + 40
    return np.stack([wide[:, 7 * t : 7 * t + 640] for t in range(num_frames)])
