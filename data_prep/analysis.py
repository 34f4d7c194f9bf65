"""Analyse a video in one pass: shots, bars, texts, overlays, quality."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from data_prep.analysis_types import Analysis, Overlay, Segment, Span, Text, pack
from data_prep.config import Preprocess
from data_prep.evidence import Picture, along_edges, judged, moving_overlays
from data_prep.finder.moments import Moment, MomentFinder, shipped
from data_prep.finder.moving import Moving, MovingFinder
from data_prep.finder.regions import Region, regions_of
from data_prep.measure.borders import BorderFinder
from data_prep.measure.fingerprint import Fingerprint
from data_prep.measure.quality import QualityMeter
from data_prep.measure.shot_borders import Look, look, shot_pictures
from data_prep.measure.shots import SHOT_WIDTH, ShotFinder
from data_prep.overlays.overlays import find_overlays, opacity
from data_prep.overlays.static_edges import OverlayFinder, Sums, half, red_blue
from data_prep.overlays.tiling import tiled
from data_prep.text.model import model_for
from data_prep.text.subtitles import SubtitleFinder
from data_prep.text.tickers import TickerFinder
from data_prep.video.cropping import Crop
from data_prep.video.decode import Converter, Probe, grey, raw_frames, scale
from data_prep.video.resampling import pack_times
from data_prep.work.stopwatch import Stopwatch
from vidboot.data.video import VideoError, upright

# Longest side of the pictures in which texts and overlays are searched for, pixels.
_ANALYSIS_SIDE = 640
# Least length of their shorter side, pixels: some steps shrink them further.
_LEAST_SIDE = 8
# Samples per second for overlays, for tickers, and for bars and quality.
_OVERLAY_RATE, _TICKER_RATE, _SLOW_RATE = 5, 2, 1
# Higher frame rates are taken for a broken time base: with its thousands of frames per second, the finder of subtitles,
# which keeps some seconds of frames, would need too much memory.
_MOST_FPS = 120.0
# So many shots before one tell, before the film's end, whether it has bars of its own.
_BEFORE = 20
# Pixels beside a bar into which gradients, scaling and compression blur its edge.
_BLUR = 3


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
    return replace(analyser.finish(), times="" if settings.fps is None else pack_times(times)), analyser.sums


class _Analyser:
    """Feed every frame in order, then call `finish`."""

    def __init__(self, about: Probe, settings: Preprocess) -> None:
        self.about, self.finder = about, settings.finder
        shrink = min(1.0, _ANALYSIS_SIDE / max(about.height, about.width))
        self.size = max(1, round(about.height * shrink)), max(1, round(about.width * shrink))
        self.shots = ShotFinder(settings.shots, about.fps)
        self.borders = BorderFinder(about.height, about.width)
        self.looks: dict[int, Look] = {}
        fps = min(about.fps, _MOST_FPS)
        self.texts = SubtitleFinder(fps, model_for(settings.text))
        self.sums, self.colours = Sums.zero(*self.size), Sums.zero(*half(*self.size))
        self.to_planes = Converter("yuv444p", _ANALYSIS_SIDE // 2)
        self.overlays: list[Overlay] = []
        self.tilings: list[Overlay] = []
        self.moments: list[Moment] = []
        self.regions: list[Region] = []
        self.moving: list[Moving] = []
        self.segments: list[Segment] = []
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
        self.shot_moments, self.shot_moving = MomentFinder(*self.size, shipped()), MovingFinder(shipped())

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
            planes = self.to_planes(frame)
            self.overlay.feed(reduced, self.texts.standing(self.start), self._colour(planes, frame.rotation))
            self.watch.lap("overlays")
            if self.finder != "rules":
                sample = self.shot_moments.sample(reduced, [upright(plane, frame.rotation) for plane in planes[1:]])
                self.shot_moments.take(number, sample)
                self.shot_moving.take(number, sample)
            self.watch.lap("finder")
        self._measure(number, grey)
        self.watch.lap("bars and quality")

    def _colour(self, planes: np.ndarray, rotation: int) -> np.ndarray:
        picture = upright(red_blue(planes), rotation)
        return scale(picture, *half(*self.size))

    def _measure(self, number: int, grey: np.ndarray) -> None:
        if number % self.slow_tick == 0:
            self.fingerprint.feed(grey)
        if self.before is not None:
            self.borders.feed(grey)
            self.looks[number] = look(grey)
            self.meter.feed(grey, self.before)
        # The first pair of a segment is measured too, so that short shots have a quality.
        self.before = grey if self.unmeasured or (number + 1) % self.slow_tick == 0 else None
        self.unmeasured = False

    def _close(self, end: int) -> None:
        edges = [(one.start, one.end) for one in self.segments[-_BEFORE:]] + [(self.start, end)]
        picture, _ = self._pictures(edges)[-1]
        covered = self._overlays(self.overlay.sums, self.overlay.colours, picture)
        self.segments.append(Segment(self.start, end, covered is not None, self.meter.quality()))
        if covered is not None and covered.any():
            self._add_overlay(self.start, end, covered, self.overlay.sums)
        if (tiles := tiled(self.overlay.sums.every.mean())) is not None:
            why = "it is repeated all over the picture"
            self.tilings.append(Overlay(self.start, end, pack(tiles), None, sure=False, why=why))
        self.sums.add_shot(self.overlay.sums)
        self.colours.add_shot(self.overlay.colours)
        later = self.shot_moments.cut(end)
        self.shot_moving.cut(end)
        moments = self.shot_moments.close()
        self.moments += moments
        self.moving += self.shot_moving.close()
        self.regions += regions_of(moments, self.start, end)
        self.watch.lap("finder")
        self._begin(end)
        for number, sample in later:
            self.shot_moments.take(number, sample)
            self.shot_moving.take(number, sample)

    def _overlays(self, sums: Sums, colours: Sums, picture: Crop) -> np.ndarray | None:
        """Covered pixels; None if the brightness moves too little to decide and the colours show no overlay.

        Colours reveal overlays that are as bright as the scene. Films with little colour show nothing by them.
        """
        covered, coloured = self._covered(sums, picture), self._covered(colours.enlarged(*self.size), picture)
        if coloured is None or not coloured.any():
            return covered
        return coloured if covered is None else covered | coloured

    def _covered(self, sums: Sums, picture: Crop) -> np.ndarray | None:
        """Overlays in the picture without bars, which have static edges too."""
        top, left, rows, columns = picture
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

    def _pictures(self, spans: Sequence[tuple[int, int]]) -> list[tuple[Crop, bool]]:
        """The pictures of shots without the bars that are known so far, and whether they are known."""
        numbers = sorted(self.looks)
        cuts = [[bisect_left(numbers, edge) for edge in span] for span in spans]
        looks = [[self.looks[number] for number in numbers[first:last]] for first, last in cuts]
        return shot_pictures(self.borders.picture(), self.about.height, self.about.width, looks)

    def _add_overlay(self, start: int, end: int, covered: np.ndarray, sums: Sums) -> None:
        why = "edges that stay while the picture moves"
        self.overlays.append(Overlay(start, end, pack(covered), opacity(covered, sums), why=why))

    def finish(self) -> Analysis:
        """Close the last shot and return everything found."""
        self._close(self.frames)
        spans = self.shots.spans()
        pictures = self._pictures(spans)
        whole = self._overlays(self.sums, self.colours, _common([self.borders.picture(), *(p for p, _ in pictures)]))
        if whole is not None and whole.any():
            self._add_overlay(0, self.frames, whole, self.sums)
        texts, overlays = self._judged(self._edges(spans, pictures))
        self.watch.lap("overlays")
        return Analysis(
            probe=self.about,
            frames=self.frames,
            size=self.size,
            picture=self.borders.picture(),
            spans=tuple(Span(*span, *told) for span, told in zip(spans, pictures, strict=True)),
            segments=tuple(self.segments),
            finder=self.finder,
            moving=whole is not None,
            texts=tuple(texts),
            overlays=tuple(overlays),
            tickers=tuple(self.tickers.tickers()),
            fingerprint=tuple(self.fingerprint.hashes),
            seconds=dict(self.watch.seconds),
        )

    def _edges(self, spans: Sequence[tuple[int, int]], pictures: Sequence[tuple[Crop, bool]]) -> list[Picture]:
        """Where the picture of each shot begins and ends, in shares of height and width."""
        height, width = self.about.height, self.about.width
        shares = [
            (top / height, left / width, (top + rows) / height, (left + columns) / width)
            for (top, left, rows, columns), _ in pictures
        ]
        return [(*span, edges) for span, edges in zip(spans, shares, strict=True)]

    def _judged(self, pictures: Sequence[Picture]) -> tuple[list[Text], list[Overlay]]:
        """Texts and overlays, by the rules and the learned finder together, or by one of them."""
        texts = [
            Text(e.start, e.end, e.box, pack(e.covered), e.sure, why="letters that stay") for e in self.texts.finish()
        ]
        if self.finder == "rules":
            return texts, [*self.overlays, *self.tilings]
        if self.finder == "learned":
            texts, self.overlays, self.tilings = [], [], []
        regions = [region for region in self.regions if not along_edges(region, pictures)]
        texts, overlays = judged(texts, self.overlays, regions, self.moments, self.size)
        return texts, [*overlays, *self.tilings, *moving_overlays(self.moving, self.size)]


def _common(pictures: Sequence[Crop]) -> Crop:
    """What several pictures have in common; the first if they have nothing."""
    top, left = (max(picture[side] for picture in pictures) for side in (0, 1))
    bottom, right = (min(picture[side] + picture[side + 2] for picture in pictures) for side in (0, 1))
    return (top, left, bottom - top, right - left) if top < bottom and left < right else pictures[0]


def _inside(first: int, last: int, full: int, reduced: int) -> slice:
    """Rows or columns `first` to `last` (exclusive) of `full`, at the size `reduced`, without the blur beside a bar."""
    start = math.ceil(first * reduced / full) + _BLUR if first else 0
    end = int(last * reduced / full) - _BLUR if last < full else reduced
    if start < end:
        return slice(start, end)
    # A strip that consists of blur only: its middle.
    middle = min(int((first + last) / 2 * reduced / full), reduced - 1)
    return slice(middle, middle + 1)


def mean_maps(sums: Sums) -> dict[str, np.ndarray]:
    """Mean gradients and brightness of a video as 8-bit numbers, to find overlays that videos of one source share."""
    dx, dy = np.round(8 * sums.every.mean()).astype(np.int8)
    return {"dx": dx, "dy": dy, "grey": np.round(sums.grey / np.maximum(sums.every.count, 1)).astype(np.uint8)}
