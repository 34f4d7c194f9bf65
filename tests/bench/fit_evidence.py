"""Fit the logistic regressions of data_prep/evidence.py on real clips, and say how good they are. Run by hand:

python tests/bench/fit_evidence.py FOOTAGE tests/bench/real_overlays.json --clean DROID --every 10

What is proposed in a clip (texts and overlays by the rules, regions by the finder) is burnt in if at least half of it
lies in boxes of overlays that are shown meanwhile; what lies in boxes to be ignored is left out. Printed: weights, and,
by five folds over clips, how much is found and wrong at some probabilities, and what was said and what was so.
"""

from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from judging import fold_of
from reliability import jobs_of, parser_of, truth_of
from scipy.optimize import minimize

import data_prep.analysis
from data_prep import evidence
from data_prep.analysis_types import unpack
from data_prep.config import Preprocess
from data_prep.video.decode import probe

_KINDS = ("texts", "overlays", "regions that stand", "regions that pass")
# Penalty of the squared weights of standardised features.
_RIDGE, _FOLDS = 0.01, 5
Row = tuple[str, str, bool, list[float]]
Example = tuple[str, bool | None, list[float] | None]


def rows_of(job: tuple[Path, list]) -> list[Row]:
    """Kind, clip, truth and features of all that is proposed in a clip."""
    cv2.setNumThreads(1)
    path, boxes = job
    caught = []

    def catch(*found):
        caught.extend(found)
        return [], []

    data_prep.analysis.judged = catch
    analysis, _ = data_prep.analysis.analyse(path, probe(path), Preprocess(text={"detector": "opencv"}))

    def truth(covered: np.ndarray, span: tuple[int, int]) -> bool | None:
        return truth_of(covered, span, analysis.probe.fps, boxes)

    examples = [*_of_rules(truth, *caught), *_of_finder(truth, *caught)]
    return [(kind, path.name, true, features) for kind, true, features in examples if None not in (true, features)]


def _of_rules(truth, texts, overlays, regions, moments, size) -> Iterator[Example]:
    for text in texts:
        area = np.zeros(size, bool)
        top, left, bottom, right = text.box
        area[top:bottom, left:right] = text.covered()
        yield "texts", truth(area, (text.start, text.end)), evidence.text_features(text, moments, size)
    for one in overlays:
        true = truth(unpack(one.bits, *size), (one.start, one.end))
        yield "overlays", true, evidence.overlay_features(one, moments, size)


def _of_finder(truth, texts, overlays, regions, moments, size) -> Iterator[Example]:
    """Regions at all levels; what passes counts once, where it is largest."""
    largest: dict[tuple, tuple[int, Example]] = {}
    for root in regions:
        proposed = evidence.proposed_meanwhile(root, texts, overlays, size)
        for region, true in _with_truth(root, truth, size):
            features = evidence.region_features(region, proposed)
            if region.stands:
                yield "regions that stand", true, features
            elif region.look not in largest or region.covered().sum() > largest[region.look][0]:
                largest[region.look] = int(region.covered().sum()), ("regions that pass", true, features)
    for _, found in largest.values():
        yield found


def _with_truth(region, truth, size) -> list[tuple]:
    """A region and all that are inside it; one that only holds something burnt in is no example of either kind."""
    area = cv2.resize(region.covered().astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
    span = (region.start, region.end) if region.stands else (region.seen.start, region.seen.stop)
    true, inside = truth(area, span), [one for part in region.inside for one in _with_truth(part, truth, size)]
    holds = true is False and any(found for _, found in inside)
    return inside if holds else [(region, true), *inside]


def fitted(features: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Weights and, last, the offset."""
    mean, scale = features.mean(0), np.maximum(features.std(0), 1e-9)
    z = np.c_[(features - mean) / scale, np.ones(len(features))]
    loss = lambda w: np.mean(np.logaddexp(0, z @ w) - truth * (z @ w)) + _RIDGE * np.sum(w[:-1] ** 2)  # noqa: E731
    weights = minimize(loss, np.zeros(z.shape[1])).x
    slopes = weights[:-1] / scale
    return np.r_[slopes, weights[-1] - slopes @ mean]


def say(kind: str, rows: list[Row]) -> None:
    """Print the weights of one kind and how good they are."""
    folds = np.array([fold_of(row[1], _FOLDS) for row in rows])
    truth, features = np.array([row[2] for row in rows], float), np.array([row[3] for row in rows])
    said = np.zeros(len(rows))
    for fold in range(_FOLDS):
        weights = fitted(features[folds != fold], truth[folds != fold])
        inside = folds == fold
        said[inside] = [evidence.logistic(list(one), list(weights)) for one in features[inside]]
    print(f"{kind}: {len(rows)}, burnt in {truth.sum():.0f}; {np.round(fitted(features, truth), 2).tolist()}")
    for least in (evidence.MASKED, 0.5):
        above = truth[said >= least]
        print(f"  from {least:.2f} on: {above.sum():.0f} found, {(1 - above).sum():.0f} wrong")
    for low, high in ((0, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 1.01)):
        step = (said >= low) & (said < high)
        if step.any():
            print(f"  said {said[step].mean():.2f}, was {truth[step].mean():.2f} ({step.sum()})")


def main() -> None:
    """Read the command line."""
    args = parser_of(__doc__).parse_args()
    jobs = jobs_of(args)
    with get_context("spawn").Pool(args.workers) as pool:
        rows = [row for each in pool.imap(rows_of, jobs) for row in each]
    for kind in _KINDS:
        say(kind, [row for row in rows if row[0] == kind])


if __name__ == "__main__":
    main()
