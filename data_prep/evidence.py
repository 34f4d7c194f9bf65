"""Put together what the rules and the learned finder say: which texts and overlays are burnt in, and how sure that is.

The rules know to the frame when a text comes and goes, and where its letters are; the finder knows what looks burnt in.
So a text or an overlay that the rules propose is judged by the finder, and what the finder alone sees is added.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from data_prep.analysis_types import Overlay, Text, pack, unpack
from data_prep.finder.moments import Moment
from data_prep.finder.regions import MASKED, TEXT, Region, calibrated

# A rule's own evidence counts as much as so much more probability (both are needed where each alone is weak).
_RULE = 0.4
# Share of a region that sure texts must cover to explain it.
_EXPLAINED = 0.7


def probability_of(covered_HW: np.ndarray, moments: Iterable[Moment]) -> float | None:
    """The greatest mean probability over covered pixels (bool, of any size) among moments; None without a moment."""
    found = None
    for moment in moments:
        height, width = moment.shape
        small = cv2.resize(covered_HW.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        if small.any():
            mean = float(moment.burnt_in()[small].mean())
            found = mean if found is None else max(found, mean)
    return found


def judged_texts(texts: Sequence[Text], moments: Sequence[Moment], size: tuple[int, int]) -> list[Text]:
    """The texts with the finder's probability, and whether both together are sure."""
    judged = []
    for text in texts:
        covered = np.zeros(size, bool)
        top, left, bottom, right = text.box
        covered[top:bottom, left:right] = text.covered()
        probability = probability_of(covered, shown_during(moments, text.start, text.end))
        if probability is None:
            judged.append(text)
            continue
        probability = calibrated(probability, TEXT)
        sure = probability >= MASKED - _RULE * text.sure
        judged.append(replace(text, probability=probability, sure=sure, why=_why("letters that stay", probability)))
    return judged


def judged_overlays(overlays: Sequence[Overlay], moments: Sequence[Moment], size: tuple[int, int]) -> list[Overlay]:
    """The overlays that rules found, with the finder's probability; those that it does not believe are doubts."""
    judged = []
    for overlay in overlays:
        probability = probability_of(unpack(overlay.bits, *size), shown_during(moments, overlay.start, overlay.end))
        if probability is None:
            judged.append(overlay)
            continue
        probability = calibrated(probability, TEXT)
        sure = probability >= MASKED - _RULE
        judged.append(replace(overlay, probability=probability, sure=sure, why=_why(overlay.why, probability)))
    return judged


def shown_during(moments: Sequence[Moment], start: int, end: int) -> list[Moment]:
    """The moments from frame `start` to `end` (exclusive); if there is none, the one nearest to their middle."""
    inside = [moment for moment in moments if start <= moment.number < end]
    middle = (start + end) / 2
    return inside or sorted(moments, key=lambda moment: abs(moment.number - middle))[:1]


def overlay_of(region: Region, size: tuple[int, int]) -> Overlay:
    """A region as an overlay of the analysed picture; one that is not probable enough is a doubt."""
    height, width = size
    covered = cv2.resize(region.covered.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.25
    sure, why = region.probability >= MASKED, _why("", region.probability)
    return Overlay(region.start, region.end, pack(covered), None, sure, region.probability, why)


def without_explained(regions: Sequence[Region], texts: Sequence[Text], size: tuple[int, int]) -> list[Region]:
    """The regions that no text explains: one that covers most of the region, and of which the times are known."""
    kept = []
    for region in regions:
        height, width = region.covered.shape
        area = np.zeros((height, width), bool)
        for text in texts:
            if text.sure and text.start <= region.seen.start and text.end >= region.seen.stop:
                top, left, bottom, right = (
                    np.array(text.box) * np.tile([height / size[0], width / size[1]], 2)
                ).astype(int)
                area[max(0, top - 2) : bottom + 3, max(0, left - 2) : right + 3] = True
        if (area & region.covered).sum() < _EXPLAINED * region.covered.sum():
            kept.append(region)
    return kept


def _why(rule: str, probability: float) -> str:
    finder = f"the finder's probability is {probability:.0%}"
    return f"{rule}; {finder}" if rule else finder
