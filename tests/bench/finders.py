"""What the project says of a video, as a `Found`: by analysing it, or as an earlier run stored it."""

import pickle
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from judging import Found

from data_prep.analysis import analyse, mean_maps
from data_prep.config import Preprocess
from data_prep.masking import Coverage, mostly_left, verdict
from data_prep.overlays.pooling import packed_maps, pooled_overlay
from data_prep.video.decode import probe
from vidboot.data.manifest import Shot, load_manifest


class Preprocessing:
    """The masks of `tools/preprocess.py`, of every frame, also of shots that are too short or too dark to be stored.

    First `prepare` each video, then `pool` all of them, as a run does with the videos of a folder; without `pool` each
    is judged alone. `folder` keeps the analyses.
    """

    def __init__(self, settings: Preprocess, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.pooled: dict[Path, np.ndarray | None] = {}

    def _file(self, path: Path, suffix: str) -> Path:
        return self.folder / f"{'_'.join(path.parts[-3:])}{suffix}"

    def prepare(self, path: Path) -> None:
        """Analyse a video; raises `VideoError` if it can't be used."""
        cv2.setNumThreads(1)
        analysis, sums = analyse(path, probe(path), self.settings)
        self._file(path, ".npz").write_bytes(packed_maps(mean_maps(sums)))
        self._file(path, ".pickle").write_bytes(pickle.dumps(analysis))

    def pool(self, paths: list[Path]) -> None:
        """Find what the videos of one folder and size share."""
        groups = defaultdict(list)
        for path in paths:
            if (file := self._file(path, ".npz")).exists():
                with np.load(file) as maps:
                    groups[path.parent, maps["grey"].shape].append(path)
        for members in groups.values():
            self.pooled |= dict.fromkeys(
                members, pooled_overlay(self._file(p, ".npz").read_bytes() for p in sorted(members))
            )

    def __call__(self, path: Path) -> Found:
        """The masks and verdicts of an analysed video."""
        analysis = pickle.loads(self._file(path, ".pickle").read_bytes())
        pooled = self.pooled.get(path)
        coverage = Coverage(analysis, pooled, path, self.settings)
        height, width = analysis.size
        spans = coverage.of(range(analysis.frames))

        def covered(number: int) -> np.ndarray:
            return _union([area for start, end, area in spans if start <= number < end], (height, width))

        shots = []
        for start, end in ((span.start, span.end) for span in analysis.spans):
            masked = any(area.any() for first, last, area in spans if first < end and last > start)
            left = masked and mostly_left(coverage, (start, end))
            shots.append((start, end, *verdict(analysis, pooled is not None, (start, end), masked, left)))
        about = analysis.probe
        down, across = height / about.height, width / about.width
        top, left, rows, columns = analysis.picture
        kept = round(top * down), round(left * across), round(rows * down), round(columns * across)
        return Found(analysis.frames, about.fps, kept, shots, covered)


class Stored:
    """The masks that a run of `tools/preprocess.py` wrote; frames that it didn't store count as kept and unmasked."""

    def __init__(self, output: Path) -> None:
        self.shots: dict[Path, list[Shot]] = defaultdict(list)
        for shot in load_manifest(output):
            self.shots[Path(shot.source).resolve()].append(shot)

    def prepare(self, path: Path) -> None:
        """Nothing: all is stored."""

    def pool(self, paths: list[Path]) -> None:
        """Nothing: the run did."""

    def __call__(self, path: Path) -> Found:
        """The masks and verdicts of a video, empty if none of its shots was stored."""
        about, mine = probe(path), self.shots.get(path.resolve(), [])

        def covered(number: int) -> np.ndarray:
            whole = np.zeros((about.height, about.width), bool)
            for shot in mine:
                if shot.start <= number < shot.end:
                    top, left, rows, columns = shot.crop
                    hidden = ~shot.mask([number - shot.start])[0]
                    area = cv2.resize(hidden.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
                    whole[top : top + rows, left : left + columns] = area > 0
            return whole

        shots = [(shot.start, shot.end, shot.verdict, shot.reason or "") for shot in mine]
        kept = mine[0].crop if mine else (0, 0, about.height, about.width)
        frames = about.declared_frames or max((shot.end for shot in mine), default=0)
        return Found(frames, about.fps, kept, shots, covered)


def _union(areas: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return np.logical_or.reduce(areas) if areas else np.zeros(shape, bool)
