"""Put together what the rules and the learned finder say: which texts and overlays are burnt in, and how sure that is.

The rules know to the frame when a text comes and goes, and where its letters are; the finder knows what looks burnt in.
So what the rules propose is judged by the finder, and what the finder alone sees is added. Each gets a probability by
logistic regression, fitted on real clips (tests/bench/fit_evidence.py).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from data_prep.analysis_types import Overlay, Text, pack, unpack
from data_prep.finder.areas import LEVELS, logit
from data_prep.finder.moments import Moment
from data_prep.finder.moving import Moving
from data_prep.finder.regions import Region

# From this probability on something is masked: what is missed costs more than what is lost, twice as much is supposed.
# From the second on a shot that shows it is not called clean: one in ten of such doubts is burnt in.
MASKED, DOUBTED = 1 / 3, 0.1
# Weights and offset of the logistic regressions, as tests/bench/fit_evidence.py fits them, on 61 clips of Panda-70M
# and every tenth of DROID's. Texts: the logit of the finder's mean value over the text, whether the rules are sure.
# Overlays of the rules: that logit. Regions: their look, whether overlays and texts of the rules cover them.
_TEXT = (0.87, 1.32, -1.73)
_OVERLAY = (1.77, 2.39)
_STANDING = (0.55, 0.9, 0.43, 1.87, 3.39, 1.29, -7.58)
_PASSING = (0.76, 0.67, 0.17, 1.38, 3.16, 2.07, -7.26)
# Things that move over the picture: their look, fitted on marks burnt into 33 clips without overlays, as in
# tests/bench/fit_moving.py. From that probability on, which one of these clips reached without a mark, a shot is not
# called clean. They are not masked: no mask follows them.
_MOVING, _MOVES = (0.67, 0.61, 0.33, -3.21), 1 / 3
# Share of a region that something must cover to be the same.
_SAME = 0.3
# A region is burnt in if so much of it is, as in fitting.
_HALF = 0.5
# Share of a region that sure texts must cover to explain it.
_EXPLAINED = 0.7

# Pixels on each side of a picture's edge in which an area is the edge itself, at half the network's size: margin of the
# areas, block of the network, and blur of the edge. So much of the area must lie there; of a logo across it half does.
_EDGE, _ALONG = 5, 0.8

Size = tuple[int, int]
Picture = tuple[int, int, tuple[float, float, float, float]]
Likely = tuple[Region, float]


def judged(
    texts: Sequence[Text], overlays: Sequence[Overlay], regions: Sequence[Region], moments: Sequence[Moment], size: Size
) -> tuple[list[Text], list[Overlay]]:
    """Texts and overlays with probabilities, and as overlays the regions that no text explains."""
    likely = [one for root in regions for one in likeliest(root, proposed_meanwhile(root, texts, overlays, size))]
    texts = [_judged_text(text, moments, size) for text in texts]
    overlays = [_judged_overlay(overlay, moments, size) for overlay in overlays]
    standing = [region for region, p in likely if region.stands and p >= MASKED]
    for region, probability in likely:
        known = not region.stands and _overlap(region, standing) > _EXPLAINED
        if not known and not _explained(region, texts, moments, size):
            overlays.append(overlay_of(region, probability, size))
    return texts, overlays


def along_edges(region: Region, pictures: Iterable[Picture]) -> bool:
    """Whether a region lies along the edges of the picture, or of one without its bars, which is shown meanwhile.

    Pictures are given with their frames, in shares of the height and width.
    """
    (height, width), covered = region.shape, region.covered()
    for start, end, (top, left, bottom, right) in pictures:
        if start < region.end and end > region.start:
            edges = round(top * height), round(left * width), round(bottom * height), round(right * width)
            near = _rectangle(region.shape, edges, _EDGE) & ~_rectangle(region.shape, edges, -_EDGE)
            if (covered & near).sum() >= _ALONG * covered.sum():
                return True
    return False


def _rectangle(shape: tuple[int, int], edges: tuple[int, int, int, int], grown: int) -> np.ndarray:
    made = np.zeros(shape, bool)
    top, left, bottom, right = edges
    made[max(0, top - grown) : max(0, bottom + grown), max(0, left - grown) : max(0, right + grown)] = True
    return made


def logistic(features: Sequence[float], weights: Sequence[float]) -> float:
    """The probability for features, by weights of which the last one is the offset."""
    total = sum(weight * feature for weight, feature in zip(weights, [*features, 1.0], strict=True))
    return 1 / (1 + math.exp(-total))


def mean_value(covered_HW: np.ndarray, moments: Iterable[Moment]) -> float | None:
    """The finder's greatest mean value over covered pixels (bool, of any size) among moments; None without a moment."""
    found = None
    for moment in moments:
        height, width = moment.shape
        small = cv2.resize(covered_HW.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        if small.any():
            mean = float(moment.burnt_in()[small].mean())
            found = mean if found is None else max(found, mean)
    return found


def text_features(text: Text, moments: Sequence[Moment], size: Size) -> list[float] | None:
    """What the probability of a text depends on; None without a moment."""
    value = mean_value(_area_of(text, size), shown_during(moments, text.start, text.end))
    return None if value is None else [logit(value), float(text.sure)]


def overlay_features(overlay: Overlay, moments: Sequence[Moment], size: Size) -> list[float] | None:
    """What the probability of an overlay that rules found depends on; None without a moment."""
    value = mean_value(unpack(overlay.bits, *size), shown_during(moments, overlay.start, overlay.end))
    return None if value is None else [logit(value)]


def proposed_meanwhile(
    region: Region, texts: Iterable[Text], overlays: Iterable[Overlay], size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """Where the rules propose overlays and texts while a region is shown, bool `h w`."""
    found = []
    for items in (overlays, texts):
        area = np.zeros(size, bool)
        for item in items:
            if item.start < region.end and item.end > region.start:
                area |= unpack(item.bits, *size) if isinstance(item, Overlay) else _area_of(item, size)
        found.append(cv2.resize(area.astype(np.uint8), region.shape[::-1], interpolation=cv2.INTER_AREA) > 0)
    return found[0], found[1]


def region_features(region: Region, proposed: Iterable[np.ndarray]) -> list[float]:
    """What the probability of a region depends on; `proposed` is what the rules propose meanwhile."""
    covered = region.covered()
    return [*region.look, *(float((area & covered).sum() > _SAME * covered.sum()) for area in proposed)]


def probability_of(region: Region, proposed: Iterable[np.ndarray]) -> float:
    """The probability that a region is burnt in; `proposed` is what the rules propose meanwhile."""
    return logistic(region_features(region, proposed), _STANDING if region.stands else _PASSING)


@dataclass(frozen=True)
class _Meant:
    """Of a region and those inside it, the ones that are worth masking."""

    use: float
    """Their expected use: a pixel that is rightly masked counts 1 - `MASKED`, one that is wrongly masked -`MASKED`."""
    regions: list[Likely]
    probability: float
    """That of the region itself."""
    likeliest: Likely
    """The most probable one, worth masking or not."""


def likeliest(region: Region, proposed: Sequence[np.ndarray]) -> list[Likely]:
    """Of a region and those inside it, the ones that are meant, with their probabilities, of at least `DOUBTED`.

    They are those that have the greatest expected use together. If none is worth masking, the most probable one is left
    as a doubt.
    """
    meant = _meant(region, proposed)
    if meant.regions:
        return meant.regions
    return [meant.likeliest] if meant.likeliest[1] >= DOUBTED else []


def _meant(region: Region, proposed: Sequence[np.ndarray]) -> _Meant:
    parts = [_meant(one, proposed) for one in region.inside]
    pixels, probability = region.covered().sum(), probability_of(region, proposed)
    for one, part in zip(region.inside, parts, strict=True):
        # Half of it is burnt in, if that is: so is it.
        if one.covered().sum() >= _HALF * pixels:
            probability = max(probability, part.probability)
    own = region, probability
    most = max([own, *(part.likeliest for part in parts)], key=lambda one: one[1])
    use, rest = float(pixels) * (probability - MASKED), sum(part.use for part in parts)
    if use > 0 and use >= rest:
        return _Meant(use, [own], probability, most)
    return _Meant(rest, [one for part in parts for one in part.regions], probability, most)


def _judged_text(text: Text, moments: Sequence[Moment], size: Size) -> Text:
    if (features := text_features(text, moments, size)) is None:
        return text
    probability = logistic(features, _TEXT)
    return replace(
        text, probability=probability, sure=probability >= MASKED, why=_why("letters that stay", probability)
    )


def _judged_overlay(overlay: Overlay, moments: Sequence[Moment], size: Size) -> Overlay:
    if (features := overlay_features(overlay, moments, size)) is None:
        return overlay
    probability = logistic(features, _OVERLAY)
    return replace(overlay, probability=probability, sure=probability >= MASKED, why=_why(overlay.why, probability))


def shown_during(moments: Sequence[Moment], start: int, end: int) -> list[Moment]:
    """The moments from frame `start` to `end` (exclusive); if there is none, the one nearest to their middle."""
    inside = [moment for moment in moments if start <= moment.number < end]
    middle = (start + end) / 2
    return inside or sorted(moments, key=lambda moment: abs(moment.number - middle))[:1]


def overlay_of(region: Region, probability: float, size: Size) -> Overlay:
    """A region as an overlay of the analysed picture; one that is not probable enough is a doubt."""
    height, width = size
    covered = cv2.resize(region.covered().astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.25
    return Overlay(
        region.start, region.end, pack(covered), None, probability >= MASKED, probability, _why("", probability)
    )


def moving_overlays(found: Iterable[Moving], size: Size) -> list[Overlay]:
    """The things that move and are probably burnt in, as doubts over all that they pass."""
    overlays = []
    for one in found:
        probability = logistic(one.look, _MOVING)
        if probability >= _MOVES:
            covered = cv2.resize(one.covered().astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
            why = _why("it moves over the picture", probability)
            overlays.append(Overlay(one.start, one.end, pack(covered), None, False, probability, why))
    return overlays


def _area_of(text: Text, size: Size) -> np.ndarray:
    area = np.zeros(size, bool)
    top, left, bottom, right = text.box
    area[top:bottom, left:right] = text.covered()
    return area


def _overlap(region: Region, others: Sequence[Region]) -> float:
    """The largest share of a region that one of the others covers, at the same time."""
    covered = region.covered()
    shares = [
        float((covered & other.covered()).sum() / covered.sum())
        for other in others
        if other.start < region.end and other.end > region.start
    ]
    return max(shares, default=0.0)


def _explained(region: Region, texts: Sequence[Text], moments: Iterable[Moment], size: Size) -> bool:
    """Whether sure texts, of which the times are known to the frame, cover most of what is seen of a region.

    Of one that is always there, they must do so at each moment: a logo is more than its letters.
    """
    covered, of_texts, seen = region.covered(), [], []
    for moment in moments:
        if moment.number in region.seen:
            shown = covered & (moment.burnt_in() >= LEVELS[0])
            of_texts.append(int((shown & _texts_at(moment.number, texts, region.shape, size)).sum()))
            seen.append(int(shown.sum()))
    if all(seen):
        return all(some >= _EXPLAINED * of_all for some, of_all in zip(of_texts, seen, strict=True))
    return sum(of_texts) >= _EXPLAINED * sum(seen)


def _texts_at(number: int, texts: Iterable[Text], shape: tuple[int, int], size: Size) -> np.ndarray:
    """The boxes of the sure texts that a frame shows, with a margin, bool `h w`."""
    down, across = shape[0] / size[0], shape[1] / size[1]
    area = np.zeros(shape, bool)
    for text in texts:
        if text.sure and text.start <= number < text.end:
            top, left, bottom, right = text.box
            rows = slice(max(0, int(top * down) - 2), int(bottom * down) + 3)
            area[rows, max(0, int(left * across) - 2) : int(right * across) + 3] = True
    return area


def _why(rule: str, probability: float) -> str:
    finder = f"the finder's probability is {probability:.0%}"
    return f"{rule}; {finder}" if rule else finder
