"""Analyse a video in one pass: shots, bars, texts, overlays, quality. The result is plain data."""

import base64
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from data_prep.config import Preprocess
from data_prep.measure.borders import BorderFinder
from data_prep.measure.fingerprint import Fingerprint
from data_prep.measure.quality import QualityMeter
from data_prep.measure.shots import SHOT_WIDTH, ShotFinder
from data_prep.overlays.overlays import find_overlays, opacity
from data_prep.overlays.static_edges import OverlayFinder, Sums, half, red_blue
from data_prep.text.model import model_for
from data_prep.text.subtitles import SubtitleFinder
from data_prep.text.tickers import TickerFinder
from data_prep.text.track import Box
from data_prep.video.decode import Converter, Probe, grey, raw_frames, scale
from data_prep.video.resampling import pack_times
from data_prep.work.stopwatch import Stopwatch
from vidboot.data.video import VideoError, upright

Analysis = dict[str, Any]
"""The result of `analyse`, as JSON can hold it."""

# Longest side of the pictures in which texts and overlays are searched for, pixels.
_ANALYSIS_SIDE = 640
# Least length of their shorter side, pixels: some steps shrink them further.
_LEAST_SIDE = 8
# Samples per second for overlays, for tickers, and for bars and quality.
_OVERLAY_RATE, _TICKER_RATE, _SLOW_RATE = 5, 2, 1
# Higher frame rates are taken for a broken time base: with its thousands of frames per second, the finder of subtitles,
# which keeps some seconds of frames, would need too much memory.
_MOST_FPS = 120.0
# Pixels beside a bar into which gradients, scaling and compression blur its edge.
_BLUR = 3


def pack(covered: np.ndarray) -> str:
    """A bool array as text, one bit per element."""
    return base64.b64encode(np.packbits(covered).tobytes()).decode()


def unpack(text: str, height: int, width: int) -> np.ndarray:
    """The bool `H W` array that `pack` made a text of."""
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width) > 0


def analyse(path: Path, about: Probe, settings: Preprocess) -> tuple[Analysis, Sums]:
    """Everything found in a video, and the sums for overlays over the whole video.

    Raises `VideoError` if the video is damaged or too narrow.
    """
    analyser = _Analyser(about, settings)
    if min(analyser.size) < _LEAST_SIDE:
        raise VideoError(path, f"a picture of {about.height}×{about.width} pixels is too narrow to be analysed")
    to_grey, to_small = Converter("gray"), Converter("bgr24", SHOT_WIDTH)
    notes: list[str] = []
    times = []
    for number, seconds, frame in raw_frames(path, about, notes):
        times.append(seconds)
        analyser.feed(number, upright(grey(frame, to_grey), frame.rotation), to_small(frame), frame)
    analyser.about = replace(about, notes=(*about.notes, *notes))
    # Times of all frames are kept only if shots get another rate.
    timed = {} if settings.fps is None else {"times": pack_times(times)}
    return analyser.finish() | timed, analyser.sums


class _Analyser:
    """Feed every frame in order, then call `finish`."""

    def __init__(self, about: Probe, settings: Preprocess) -> None:
        self.about = about
        shrink = min(1.0, _ANALYSIS_SIDE / max(about.height, about.width))
        self.size = max(1, round(about.height * shrink)), max(1, round(about.width * shrink))
        self.shots = ShotFinder(settings.shots, about.fps)
        self.borders = BorderFinder(about.height, about.width)
        fps = min(about.fps, _MOST_FPS)
        self.texts = SubtitleFinder(fps, model_for(settings.text))
        self.sums, self.colours = Sums.zero(*self.size), Sums.zero(*half(*self.size))
        self.to_planes = Converter("yuv444p", _ANALYSIS_SIDE // 2)
        self.overlays: list[dict[str, Any]] = []
        self.segments: list[dict[str, Any]] = []
        self.tickers, self.fingerprint, self.watch = TickerFinder(), Fingerprint(), Stopwatch()
        self.last: np.ndarray | None = None
        self.ticker_tick = max(2, round(fps / _TICKER_RATE))
        self.overlay_tick = max(1, round(fps / _OVERLAY_RATE))
        self.slow_tick = max(2, round(fps / _SLOW_RATE))
        self.frames = 0
        self.before: np.ndarray | None = None
        self._begin(0)

    def _begin(self, start: int) -> None:
        self.start = start
        self.unmeasured = True
        self.overlay, self.meter = OverlayFinder(*self.size), QualityMeter()

    def feed(self, number: int, grey: np.ndarray, small: np.ndarray, frame: av.VideoFrame) -> None:
        """Take the next frame: its brightness, a small colour picture of it, and the frame as decoded."""
        self.watch.lap("decoding")
        self.frames = number + 1
        self.shots.feed(number, small)
        if self.shots.last_cut > self.start:
            self.texts.cut(self.shots.last_cut)
            self._close(self.shots.last_cut)
        self.watch.lap("shots")
        reduced = scale(grey, *self.size)
        self.texts.feed(reduced)
        if self.last is not None and number % self.ticker_tick == 1:
            self.tickers.feed(number, reduced, self.last)
        self.last = reduced
        self.watch.lap("texts")
        if number % self.overlay_tick == 0:
            # A text that is shown since the shot began may be a logo with letters, so it is not left out.
            self.overlay.feed(reduced, self.texts.standing(self.start), self._colour(frame))
        self.watch.lap("overlays")
        self._measure(number, grey)
        self.watch.lap("bars and quality")

    def _colour(self, frame: av.VideoFrame) -> np.ndarray:
        picture = upright(red_blue(self.to_planes(frame)), frame.rotation)
        return scale(picture, *half(*self.size))

    def _measure(self, number: int, grey: np.ndarray) -> None:
        if number % self.slow_tick == 0:
            self.fingerprint.feed(grey)
        if self.before is not None:
            self.borders.feed(grey)
            self.meter.feed(grey, self.before)
        # The first pair of a segment is measured too, so that short shots have a quality.
        self.before = grey if self.unmeasured or (number + 1) % self.slow_tick == 0 else None
        self.unmeasured = False

    def _close(self, end: int) -> None:
        covered = self._overlays(self.overlay.sums, self.overlay.colours)
        quality = asdict(self.meter.quality())
        self.segments.append({"start": self.start, "end": end, "moving": covered is not None, "quality": quality})
        if covered is not None and covered.any():
            self._add_overlay(self.start, end, covered, self.overlay.sums)
        self.sums.add_shot(self.overlay.sums)
        self.colours.add_shot(self.overlay.colours)
        self._begin(end)

    def _overlays(self, sums: Sums, colours: Sums) -> np.ndarray | None:
        """Covered pixels; None if the brightness moves too little to decide and the colours show no overlay.

        Colours reveal overlays that are as bright as the scene. Films with little colour show nothing by them.
        """
        covered, coloured = self._covered(sums), self._covered(colours.enlarged(*self.size))
        if coloured is None or not coloured.any():
            return covered
        return coloured if covered is None else covered | coloured

    def _covered(self, sums: Sums) -> np.ndarray | None:
        """Overlays in the picture without the bars that are known so far: bars have static edges too."""
        top, left, rows, columns = self.borders.picture()
        where = (
            _inside(top, top + rows, self.about.height, self.size[0]),
            _inside(left, left + columns, self.about.width, self.size[1]),
        )
        found = find_overlays(sums.part(where))
        if found is None:
            return None
        covered = np.zeros(self.size, bool)
        covered[where] = found
        return covered

    def _add_overlay(self, start: int, end: int, covered: np.ndarray, sums: Sums) -> None:
        self.overlays.append({"start": start, "end": end, "bits": pack(covered), "opacity": opacity(covered, sums)})

    def finish(self) -> Analysis:
        """Close the last shot and return everything found."""
        self._close(self.frames)
        whole = self._overlays(self.sums, self.colours)
        if whole is not None and whole.any():
            self._add_overlay(0, self.frames, whole, self.sums)
        texts = [
            {"start": e.start, "end": e.end, "box": e.box, "bits": pack(e.covered), "sure": e.sure}
            for e in self.texts.finish()
        ]
        self.watch.lap("overlays")
        return {
            "probe": asdict(self.about),
            "frames": self.frames,
            "size": self.size,
            "picture": self.borders.picture(),
            "spans": self.shots.spans(),
            "segments": self.segments,
            "moving": whole is not None,
            "texts": texts,
            "overlays": self.overlays,
            "tickers": [asdict(ticker) for ticker in self.tickers.tickers()],
            "fingerprint": self.fingerprint.hashes,
            "seconds": dict(self.watch.seconds),
        }


def _inside(first: int, last: int, full: int, reduced: int) -> slice:
    """Rows or columns `first` to `last` (exclusive) of `full`, at the size `reduced`, without the blur beside a bar."""
    start = math.ceil(first * reduced / full) + _BLUR if first else 0
    end = int(last * reduced / full) - _BLUR if last < full else reduced
    if start < end:
        return slice(start, end)
    # A strip that consists of blur only: its middle.
    middle = min(int((first + last) / 2 * reduced / full), reduced - 1)
    return slice(middle, middle + 1)


def covered_area(text: dict[str, Any]) -> tuple[Box, np.ndarray]:
    """Box and covered pixels of a text in an analysis."""
    top, left, bottom, right = text["box"]
    return (top, left, bottom, right), unpack(text["bits"], bottom - top, right - left)


def mean_maps(sums: Sums) -> dict[str, np.ndarray]:
    """Mean gradients and brightness of a video as 8-bit numbers, to find overlays that videos of one source share."""
    dx, dy = np.round(8 * sums.every.mean()).astype(np.int8)
    return {"dx": dx, "dy": dy, "grey": np.round(sums.grey / np.maximum(sums.every.count, 1)).astype(np.uint8)}


def shrink_to(covered: np.ndarray, crop: tuple[int, int, int, int], height: int, width: int) -> np.ndarray:
    """Covered pixels of a cropped region at another size: a pixel is covered if any part of it is."""
    top, left, rows, columns = crop
    return scale(covered[top : top + rows, left : left + columns].astype(np.float32), height, width) > 1e-3
