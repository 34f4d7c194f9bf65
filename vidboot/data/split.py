"""Which shots are for training, which for choosing (validation) and which for reporting (test)."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidboot.data.manifest import Manifest, Shot
from vidboot.errors import UserError

PARTS = ("train", "validation", "test", "left_out")
Group = list[Shot]


@dataclass(frozen=True)
class Split:
    """Shots for training, for choosing (validation: calibration, gate, stopping point) and for reports (test)."""

    train: tuple[Shot, ...]
    validation: tuple[Shot, ...]
    test: tuple[Shot, ...]
    left_out: tuple[Shot, ...] = ()
    """Shots for none of these: other shots of the sources that are held out."""

    @property
    def fps(self) -> float:
        """Frames per second of the training shots: their median."""
        return statistics.median(shot.fps for shot in self.train)

    def ids(self) -> dict[str, list[str]]:
        """The ids of each part's shots."""
        return {part: [shot.id for shot in getattr(self, part)] for part in PARTS}


def split_shots(manifest: Manifest, holdout: float) -> Split:
    """Hold out a share of the full videos: whole sources if there are enough of them, else single shots.

    Other shots of a source that is held out, too short or too blurred for full videos, are left out altogether: no
    network may learn from that source. Without any full video, clips and (if there are three or more) low-res videos
    are held out instead. The choice depends on the shots' content only, not on where files lie. Raises `UserError` if
    there are fewer than three videos to share out.
    """
    whole = bool(manifest.supplying("full"))
    kinds = ["full"] if whole else ["clip"] + ["low_res"] * (len(manifest.supplying("low_res")) >= 3)
    by_source = all(len({shot.source for shot in manifest.supplying(kind)}) * holdout >= 2 for kind in kinds)
    groups: dict[str, Group] = defaultdict(list)
    for shot in manifest:
        groups[shot.source if by_source else shot.id].append(shot)
    # By the hash of their content, which is as good as a random order.
    ordered = sorted(groups.values(), key=lambda group: min(shot.id for shot in group))
    held_out: tuple[list[Group], list[Group]] = ([], [])
    for kind in kinds:
        _hold_out(manifest, kind, [group for group in ordered if _supplies(group, kind)], holdout, held_out)
    validation, test = ([shot for group in part for shot in group] for part in held_out)
    out = {shot.id for shot in (*validation, *test)}
    return Split(
        train=tuple(shot for shot in manifest if shot.id not in out),
        validation=tuple(shot for shot in validation if not whole or "full" in shot.views),
        test=tuple(shot for shot in test if not whole or "full" in shot.views),
        left_out=tuple(shot for shot in (*validation, *test) if whole and "full" not in shot.views),
    )


def _hold_out(
    manifest: Manifest, kind: str, eligible: list[Group], holdout: float, held_out: tuple[list[Group], list[Group]]
) -> None:
    """Add groups with shots of one kind to both parts that are held out, less those that they have already."""
    if len(eligible) < 3:
        raise UserError(
            f"{manifest.root} has {len(eligible)} video(s) for the '{kind}' view; training, choosing and reporting "
            "need at least one each: add videos, or lower the frame limits of tools/preprocess.py"
        )
    share = max(1, round(holdout * len(eligible) / 2))
    held = {group[0].id for part in held_out for group in part}
    free = [group for group in eligible if group[0].id not in held]
    for part in held_out:
        lacking = max(0, share - sum(_supplies(group, kind) for group in part))
        part += free[:lacking]
        free = free[lacking:]


def _supplies(group: Group, kind: str) -> bool:
    return any(kind in shot.views for shot in group)


def split_like(manifest: Manifest, before: Mapping[str, Any]) -> Split:
    """An earlier split, given by the shots' ids: shots that are still there keep their part, new ones are trained on.

    New shots of a source that was held out whole are left out.
    """
    part_of = {shot_id: part for part in PARTS for shot_id in before.get(part, ())}
    sources: dict[str | None, set[str]] = defaultdict(set)
    for shot in manifest:
        sources[part_of.get(shot.id)].add(shot.source)
    whole = (sources["validation"] | sources["test"]) - sources["train"]
    parts: dict[str, Group] = {part: [] for part in PARTS}
    for shot in manifest:
        parts[part_of.get(shot.id, "left_out" if shot.source in whole else "train")].append(shot)
    order = {shot_id: number for number, shot_id in enumerate(part_of)}
    return Split(**{name: tuple(sorted(p, key=lambda s: order.get(s.id, len(order)))) for name, p in parts.items()})
