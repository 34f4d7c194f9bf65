"""Static overlays (logos, watermarks, also semi-transparent): edges that stay where they are while the picture moves.

Where all edges of the scene move away, whatever stays is an overlay. Where only those move away that lie across the
camera's way, an overlay shows by such edges of its own, and what stays beside them belongs to it.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from data_prep.static_edges import EDGE, Sums

# Less consistent edges along which an overlay goes on, so many times; weaker ones that count beside it.
_GOES_ON, _STEPS = 0.7, 8
_WEAK_EDGE, _WEAK_CONSISTENT = 1.2, 0.4
# Strength of an overlay's edges as a share of its strongest ones.
_BOLD = 0.55
# Least over greatest strength of an overlay's edges by direction, and most overlays at a time.
_CORNERS, _MOST = 0.12, 4
# An overlay's surrounding: grey levels by which pixels of a ring deviate if they change, share that must.
RING_DEVIATES, _RING_SHARE = 6.0, 0.7
# Edges across the camera's way, pixels: fewest of an overlay, most that a scene has in one place by chance; and how far
# apart those of one overlay may lie (half of it).
_ACROSS, _BY_CHANCE, _TOGETHER = 120, 60, 101
# Least consistency of those: a part of a gradient agrees with others by chance less often than it would as a whole.
_AGREE_ALONG = 0.65
# Edges nearer than this are one overlay (closing, then merging), margin of the mask, and smallest overlay, pixels.
_CLOSE, _MERGE, _MARGIN, _SMALLEST = 9, 25, 3, 60
# Less opaque than this, a logo may be too faint to be found in parts: so many pixels around its hull.
_OPAQUE, _FAINT = 0.8, 3
# Larger than this share of the picture is no overlay.
_LARGEST = 0.15
# Texts have hidden most of a pixel's samples if it has less than this share of the others'.
_HIDDEN = 0.5
# What spans more than this share of the width while the camera goes past may be a ridge far off.
_WIDE = 0.5


def find_overlays(sums: Sums) -> np.ndarray | None:
    """Covered pixels, bool `H W`, or None if the scene, or what is around an edge, moves too little to tell.

    Nor can be told what stays in some shots of a video and not in others: their own sums say more.
    """
    covered = _find(sums, sums.shared())
    if covered is not None and not covered.any() and sums.turns.any():
        unshared = _find(sums, np.ones_like(covered))
        return covered if unshared is not None and not unshared.any() else None
    return covered


def _find(sums: Sums, shared: np.ndarray) -> np.ndarray | None:
    """As `find_overlays`, where edges are `shared` (bool `H W`), and what goes on from them too."""
    changes, passed = sums.deviation() > RING_DEVIATES, sums.passed()
    staying = sums.every.staying() & shared
    across = _without_few(sums.along.staying(_AGREE_ALONG) & passed & shared)
    where, doubtful = _places(across)
    if where.any():
        covered = _overlays(sums, where & staying | across, where & shared, changes | passed)
        return covered if covered is not None and covered.any() else None
    if doubtful:
        return None
    if sums.passed_all():
        return _under_texts(sums, staying, shared, changes | passed)
    among_all = _overlays(sums, staying, ~where & shared, changes) if sums.moving() else None
    # Where a camera that moves has not got far, all edges may have stayed.
    return None if passed.any() and among_all is not None and among_all.any() else among_all


def _under_texts(sums: Sums, staying: np.ndarray, shared: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Overlays where texts (a logo's own letters, say) have hidden most samples: along the way too few count there."""
    under = sums.every.count < _HIDDEN * sums.every.count.max()
    nothing = np.zeros_like(under)
    if not under.any() or not sums.moving():
        return nothing
    covered = _overlays(sums, staying & under, under & shared, changes)
    return nothing if covered is None else covered


def _places(across: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where overlays are, told by edges `across` the camera's way that stay (both bool `H W`), and whether more may be.

    Each place is a hull around such edges, which may be no more than the two ends of a box.
    """
    where, doubtful = np.zeros_like(across), False
    for group in _groups(across, _TOGETHER):
        own = across & group
        if own.sum() >= _ACROSS and np.ptp(np.flatnonzero(own.any(axis=0))) <= _WIDE * own.shape[1]:
            where |= _hull(own, _MERGE // 2)
        else:
            doubtful = True
    return where, doubtful


def _without_few(edges: np.ndarray) -> np.ndarray:
    """The edges without groups as small as chance makes them."""
    _, labels = cv2.connectedComponents(_near(edges).astype(np.uint8))
    counts = np.bincount(labels[edges], minlength=labels.max() + 1)
    return edges & (counts[labels] >= _BY_CHANCE)


def _overlays(sums: Sums, edges: np.ndarray, where: np.ndarray, changes: np.ndarray) -> np.ndarray | None:
    """Overlays from `edges` that stay and what goes on from them `where` there are any (bool `H W`)."""
    mean, consistency = sums.every.mean(), sums.every.consistency()
    strength = np.hypot(*mean)
    goes_on = where & (strength > EDGE) & (consistency > _GOES_ON)
    weak = where & (strength > _WEAK_EDGE) & (consistency > _WEAK_CONSISTENT)
    covered = grouped_overlays(mean, edges, goes_on, weak, changes)
    if covered is None or not covered.any():
        return covered
    bold = _bold(edges, strength)
    goes_on &= strength >= strength[bold & covered].min(initial=np.inf)
    tight = grouped_overlays(mean, bold, goes_on, weak, changes)
    covered = covered if tight is None or not tight.any() else covered & tight
    return _whole(covered) if opacity(covered, sums) < _OPAQUE else covered


def _whole(covered: np.ndarray) -> np.ndarray:
    """Covered pixels with what is too faint to be found in and just around logos: the hull of each, widened."""
    whole = covered.copy()
    for group in _groups(covered):
        hull = _hull(group, _FAINT)
        if hull.mean() <= _LARGEST:
            whole |= hull
    return whole


def _hull(group: np.ndarray, margin: int) -> np.ndarray:
    corners = cv2.convexHull(cv2.findNonZero(group.astype(np.uint8)))
    return _near(cv2.fillConvexPoly(np.zeros(group.shape, np.uint8), corners, 1), 2 * margin + 1)


def _bold(edges: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The edges without the faint ones of each group: edges of the scene that stay by chance beside an overlay."""
    bold = np.zeros_like(edges)
    for group in _groups(_closed(edges)):
        own = edges & group
        if own.any():
            bold |= own & (strength >= _BOLD * np.percentile(strength[own], 98))
    return bold


def opacity(covered: np.ndarray, sums: Sums) -> float:
    """How opaque overlays are, 0 to 1: they weaken how much the picture varies (1 - deviation inside / around).

    The quarter of the covered pixels that vary least are taken, because gaps between letters are covered too.
    """
    deviation = sums.deviation()
    ring = (cv2.dilate(covered.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0) & ~covered
    inside, around = np.percentile(deviation[covered], 25), np.median(deviation[ring]) if ring.any() else 0.0
    return round(float(np.clip(1 - inside / max(around, 1e-3), 0, 1)), 2)


def grouped_overlays(
    mean: np.ndarray, edges: np.ndarray, goes_on: np.ndarray, weak: np.ndarray, changes: np.ndarray
) -> np.ndarray | None:
    """Covered pixels from edges that stay (`H W`), of those whose surrounding `changes` (bool `H W`).

    None if nothing can be told: all that stays has a surrounding that stays too (a logo in front of a plain sky, or
    something in the scene), or more stays than overlays would cover.

    `mean` are the mean gradients, `2 H W`; overlays go on along the edges `goes_on`, and `weak` ones beside them count.
    """
    covered = np.zeros(edges.shape, bool)
    found = doubtful = 0
    for group in _groups(_closed(edges)):
        own = edges & group
        if own.sum() < _SMALLEST or not _has_corners(mean[:, own]):
            continue
        if not _stands_out(group, changes):
            doubtful += 1
            continue
        found += 1
        group = _followed(group, _closed(edges | goes_on))
        covered |= _filled(_closed(edges | weak) & _near(group))
    if (doubtful and not found) or covered.mean() > _LARGEST or found > _MOST:
        return None
    return covered


def _followed(group: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The group with what follows one another `along` near it, as the letters of a word do."""
    for _ in range(_STEPS):
        more = group | (along & _near(group))
        if more.sum() == group.sum():
            break
        group = more
    return group


def _near(group: np.ndarray, side: int = _MERGE) -> np.ndarray:
    return cv2.dilate(group.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _closed(edges: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8)) > 0


def _groups(closed: np.ndarray, side: int = _MERGE) -> Sequence[np.ndarray]:
    count, labels = cv2.connectedComponents(_near(closed, side).astype(np.uint8))
    return [(labels == number) & closed for number in range(1, count)]


def _has_corners(mean: np.ndarray) -> bool:
    """Whether edges (mean gradients `2 N`) run in more than one direction.

    Under a camera that pans, the scene's edges along its way stay where they are; but these all run one way.
    """
    low, high = np.linalg.eigvalsh(mean @ mean.T)
    return bool(low > _CORNERS * high)


def _stands_out(group: np.ndarray, changes: np.ndarray) -> bool:
    near = cv2.dilate(group.astype(np.uint8), np.ones((9, 9), np.uint8))
    ring = (cv2.dilate(near, np.ones((25, 25), np.uint8)) > 0) & (near == 0)
    return bool(ring.any() and changes[ring].mean() >= _RING_SHARE)


def _filled(group: np.ndarray) -> np.ndarray:
    side = 2 * _MARGIN + 1
    wide = cv2.dilate(group.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    outlines, _ = cv2.findContours(wide, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(wide, outlines, -1, 1, cv2.FILLED) > 0
