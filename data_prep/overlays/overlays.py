"""Find static overlays (logos and watermarks, also semi-transparent): edges that are static while the picture moves.

Where all edges of the scene move away, every static edge belongs to an overlay. Where only edges across the camera's
path move away, static edges in that direction reveal an overlay, and the static edges beside them belong to it.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from data_prep.overlays.static_edges import EDGE, Sums
from data_prep.text.shape import filled_outlines

# An overlay continues along edges of at least this consistency, in so many steps; least strength and consistency of
# the weak edges beside it that belong to it too.
_CONTINUES, _STEPS = 0.7, 8
_WEAK_EDGE, _WEAK_CONSISTENT = 1.2, 0.4
# Least strength of an overlay's edges, as a share of its strongest ones.
_BOLD = 0.55
# An overlay's edges have several directions: least ratio of the eigenvalues of their gradients' covariance. Most
# overlays at a time.
_CORNERS, _MOST = 0.12, 4
# Pixels around an overlay change if they deviate by so many grey levels; share of them that must change.
RING_DEVIATES, _RING_SHARE = 6.0, 0.7
# Edges across the camera's path, pixels: fewest of an overlay, most that a scene has in one place by chance. Side of
# the square that joins those of one overlay.
_ACROSS, _BY_CHANCE, _TOGETHER = 120, 60, 101
# Least consistency of those edges: lower, because components of gradients agree by chance less often than gradients.
_AGREE_ALONG = 0.65
# Sides of the squares that close gaps between edges and that merge groups; margin of the mask; fewest edge pixels.
_CLOSE, _MERGE, _MARGIN, _SMALLEST = 9, 25, 3, 60
# Parts of a less opaque logo may be too faint to be found: its hull is masked with a margin of so many pixels.
_OPAQUE, _FAINT = 0.8, 3
# An overlay covers at most this share of the picture.
_LARGEST = 0.15
# Texts have hidden most samples of a pixel if it has less than this share of the largest number of samples.
_HIDDEN = 0.5
# Edges that span more than this share of the width may belong to a distant ridge that the camera hardly passes.
_WIDE = 0.5


def find_overlays(sums: Sums) -> np.ndarray | None:
    """Covered pixels, bool `H W`; None if the scene, or what is around an edge, moves too little to decide.

    Also None for edges that are static in the sum of all shots, but not shared by them: the sums of the shots decide.
    """
    covered = _find(sums, sums.shared())
    if covered is not None and not covered.any() and sums.turns.any():
        unshared = _find(sums, np.ones_like(covered))
        return covered if unshared is not None and not unshared.any() else None
    return covered


def _find(sums: Sums, shared: np.ndarray) -> np.ndarray | None:
    """As `find_overlays`, from the edges at `shared` pixels (bool `H W`) and what continues them."""
    changes, passed = sums.deviation() > RING_DEVIATES, sums.passed()
    static = sums.every.static_edges() & shared
    across = _without_few(sums.along.static_edges(_AGREE_ALONG) & passed & shared)
    where, doubtful = _places(across)
    if where.any():
        covered = _overlays(sums, where & static | across, where & shared, changes | passed)
        return covered if covered is not None and covered.any() else None
    if doubtful:
        return None
    if sums.passed_all():
        return _under_texts(sums, static, shared, changes | passed)
    among_all = _overlays(sums, static, ~where & shared, changes) if sums.moving() else None
    # Where a moving camera has not come far, all edges may be static.
    return None if passed.any() and among_all is not None and among_all.any() else among_all


def _under_texts(sums: Sums, static: np.ndarray, shared: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Overlays where texts (such as a logo's own letters) hide so much that the sums along the motion are too small."""
    under = sums.every.count < _HIDDEN * sums.every.count.max()
    nothing = np.zeros_like(under)
    if not under.any() or not sums.moving():
        return nothing
    covered = _overlays(sums, static & under, under & shared, changes)
    return nothing if covered is None else covered


def _places(across: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where overlays are (bool `H W`), from static edges `across` the camera's path, and whether there may be more.

    Each place is the convex hull of such edges, which may be only the two ends of a box.
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
    """The edges without groups that are small enough to occur by chance."""
    _, labels = cv2.connectedComponents(_near(edges).astype(np.uint8))
    counts = np.bincount(labels[edges], minlength=labels.max() + 1)
    return edges & (counts[labels] >= _BY_CHANCE)


def _overlays(sums: Sums, edges: np.ndarray, where: np.ndarray, changes: np.ndarray) -> np.ndarray | None:
    """Overlays from static `edges` and from what continues them at the pixels `where` (all bool `H W`)."""
    mean, consistency = sums.every.mean(), sums.every.consistency()
    strength = np.hypot(*mean)
    continues = where & (strength > EDGE) & (consistency > _CONTINUES)
    weak = where & (strength > _WEAK_EDGE) & (consistency > _WEAK_CONSISTENT)
    covered = grouped_overlays(mean, edges, continues, weak, changes)
    if covered is None or not covered.any():
        return covered
    bold = _bold(edges, strength)
    continues &= strength >= strength[bold & covered].min(initial=np.inf)
    tight = grouped_overlays(mean, bold, continues, weak, changes)
    covered = covered if tight is None or not tight.any() else covered & tight
    return _whole(covered) if opacity(covered, sums) < _OPAQUE else covered


def _whole(covered: np.ndarray) -> np.ndarray:
    """Covered pixels and the widened convex hull of each overlay, for the parts that are too faint to be found."""
    whole = covered.copy()
    for group in _groups(covered):
        hull = _hull(group, _FAINT)
        if hull.mean() <= _LARGEST:
            whole |= hull
    return whole


def _hull(group: np.ndarray, margin: int) -> np.ndarray:
    """The convex hull of a group (bool `H W`), widened by a margin."""
    corners = cv2.convexHull(cv2.findNonZero(group.astype(np.uint8)))
    return _near(cv2.fillConvexPoly(np.zeros(group.shape, np.uint8), corners, 1), 2 * margin + 1)


def _bold(edges: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The edges without the faint ones of each group: edges of the scene beside an overlay can be static by chance."""
    bold = np.zeros_like(edges)
    for group in _groups(_closed(edges)):
        own = edges & group
        if own.any():
            bold |= own & (strength >= _BOLD * np.percentile(strength[own], 98))
    return bold


def opacity(covered: np.ndarray, sums: Sums) -> float:
    """How opaque overlays are, 0 to 1. An overlay reduces variation: this is 1 - deviation inside / deviation around.

    Inside, the deviation is the lower quartile, because gaps between letters are covered too.
    """
    deviation = sums.deviation()
    ring = _ring(covered)
    inside, around = np.percentile(deviation[covered], 25), np.median(deviation[ring]) if ring.any() else 0.0
    return round(float(np.clip(1 - inside / max(around, 1e-3), 0, 1)), 2)


def grouped_overlays(
    mean: np.ndarray, edges: np.ndarray, continues: np.ndarray, weak: np.ndarray, changes: np.ndarray
) -> np.ndarray | None:
    """Covered pixels, from groups of static `edges` (bool `H W`) whose surroundings are pixels that `changes` marks.

    None if that is undecided: no group has changing surroundings (a logo in front of a plain sky, or an object of the
    scene), or more is static than overlays would cover.

    `mean` are the mean gradients, `2 H W`. Overlays continue along the edges `continues`, and `weak` edges beside them
    belong to them.
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
        group = _continued(group, _closed(edges | continues))
        covered |= filled_outlines((_closed(edges | weak) & _near(group)).astype(np.uint8), _MARGIN)
    if (doubtful and not found) or covered.mean() > _LARGEST or found > _MOST:
        return None
    return covered


def _continued(group: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The group, extended step by step by parts of `along` near it, like from one letter of a word to the next."""
    for _ in range(_STEPS):
        more = group | (along & _near(group))
        if more.sum() == group.sum():
            break
        group = more
    return group


def _near(group: np.ndarray, side: int = _MERGE) -> np.ndarray:
    """The pixels within a square of this side around those of the group."""
    return cv2.dilate(group.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _closed(edges: np.ndarray) -> np.ndarray:
    """The edges with the gaps between them filled."""
    return cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8)) > 0


def _groups(closed: np.ndarray, side: int = _MERGE) -> Sequence[np.ndarray]:
    """Groups of pixels that are near each other, each as bool `H W`."""
    count, labels = cv2.connectedComponents(_near(closed, side).astype(np.uint8))
    return [(labels == number) & closed for number in range(1, count)]


def _has_corners(mean: np.ndarray) -> bool:
    """Whether edges (mean gradients `2 N`) have more than one direction.

    When the camera pans, edges of the scene parallel to its path are static; but they all have one direction.
    """
    low, high = np.linalg.eigvalsh(mean @ mean.T)
    return bool(low > _CORNERS * high)


def _stands_out(group: np.ndarray, changes: np.ndarray) -> bool:
    """Whether the picture around a group changes, so that its edges are not those of a static scene."""
    ring = _ring(_near(group, 9))
    return bool(ring.any() and changes[ring].mean() >= _RING_SHARE)


def _ring(covered: np.ndarray) -> np.ndarray:
    """The pixels around covered ones, 12 wide."""
    return _near(covered, 25) & ~covered
