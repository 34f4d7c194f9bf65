"""How far the finder's probabilities can be trusted: of what was said with 90 %, were 90 % burnt in? Run by hand:

python tests/bench/reliability.py FOOTAGE tests/bench/real_overlays.json [--clean FOLDER --every N] [--plot FILE.png]

Every text and overlay of a clip's analysis, masked or doubted, counts once: it is true if at least half of what it
covers lies in boxes of overlays that are shown meanwhile; what lies in boxes to be ignored is left out.
"""

import argparse
import json
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from judging import area, box_at
from real_overlays import clips

from data_prep.analysis import analyse
from data_prep.analysis_types import Analysis, Overlay, Text, unpack
from data_prep.config import Preprocess
from data_prep.video.decode import probe

_EDGES = np.array([0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
# Share of what is covered that decides, pixels by which boxes are grown, and frames that are looked at.
_HALF, _GROWN, _LOOKS = 0.5, 6, 5


def claims(job: tuple[Path, list]) -> list[tuple[float, bool]]:
    """Probability and truth of all that was found in a clip."""
    cv2.setNumThreads(1)
    path, overlays = job
    analysis, _ = analyse(path, probe(path), Preprocess(finder="both"))
    found = []
    for item in (*analysis.texts, *analysis.overlays):
        truth = _truth(item, analysis, overlays)
        if item.probability is not None and truth is not None:
            found.append((item.probability, truth))
    return found


def _truth(item: Text | Overlay, analysis: Analysis, overlays: list) -> bool | None:
    covered = np.zeros(analysis.size, bool)
    if isinstance(item, Text):
        top, left, bottom, right = item.box
        covered[top:bottom, left:right] = item.covered()
    else:
        covered = unpack(item.bits, *analysis.size)
    return truth_of(covered, (item.start, item.end), analysis.probe.fps, overlays)


def truth_of(covered_HW: np.ndarray, span: tuple[int, int], fps: float, overlays: list) -> bool | None:
    """Whether half of what is covered lies in boxes shown during these frames; None if in boxes to be ignored."""
    true, ignored = np.zeros_like(covered_HW), np.zeros_like(covered_HW)
    for number in np.linspace(span[0], max(span[0], span[1] - 1), _LOOKS):
        for overlay in overlays:
            box = box_at(overlay, number / fps)
            if box is not None:
                (ignored if overlay.get("ignore") else true)[area(box, covered_HW.shape, _GROWN)] = True
    total = max(int(covered_HW.sum()), 1)
    if (covered_HW & true).sum() >= _HALF * total:
        return True
    return None if (covered_HW & ignored).sum() >= _HALF * total else False


def table(found: list[tuple[float, bool]]) -> list[tuple[float, float, int, float, float]]:
    """For each step of probability: limits, number of claims, their mean probability, the share that is true."""
    said, true = np.array([p for p, _ in found]), np.array([t for _, t in found], float)
    rows = []
    for low, high in pairwise(_EDGES):
        inside = (said >= low) & (said < high if high < 1 else said <= high)
        if inside.any():
            rows.append(
                (float(low), float(high), int(inside.sum()), float(said[inside].mean()), float(true[inside].mean()))
            )
    return rows


def draw(rows: list[tuple[float, float, int, float, float]], path: Path) -> None:
    """The reliability plot."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.plot([row[3] for row in rows], [row[4] for row in rows], "o-")
    for row in rows:
        axes.annotate(str(row[2]), (row[3], row[4]), textcoords="offset points", xytext=(5, -10))
    axes.set(xlabel="said", ylabel="was burnt in", xlim=(0, 1), ylim=(0, 1))
    figure.savefig(path, dpi=110, bbox_inches="tight")


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """The options that say which clips are looked at."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("boxes", type=Path)
    parser.add_argument("--clean", type=Path, help="folder of clips without overlays")
    parser.add_argument("--every", type=int, default=1, help="of these, in order of their names, take each N-th")
    parser.add_argument("--workers", type=int, default=1)
    return parser


def jobs_of(args: argparse.Namespace) -> list[tuple[Path, list]]:
    """The clips, each with its overlays."""
    clean = [] if args.clean is None else sorted(args.clean.rglob("*.mp4"))[:: args.every]
    return [*clips(args.footage, args.boxes, None, None).items(), *((path, []) for path in clean)]


def main() -> None:
    """Read the command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--output", type=Path, help="write every claim as JSON")
    args = parser.parse_args()
    jobs = jobs_of(args)
    with get_context("spawn").Pool(args.workers) as pool:
        found = [claim for each in pool.imap(claims, jobs) for claim in each]
    for low, high, count, said, true in table(found):
        print(f"{low:.1f} to {high:.1f}: {count:4} claims, said {said:.2f}, was {true:.2f}")
    if args.output:
        args.output.write_text(json.dumps(found))
    if args.plot:
        draw(table(found), args.plot)


if __name__ == "__main__":
    main()
