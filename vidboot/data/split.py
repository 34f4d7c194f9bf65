"""Which shots are trained on, chosen by and reported on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vidboot.data.manifest import Manifest, Shot
from vidboot.errors import UserError

PARTS = ("train", "validation", "test", "left_out")
Group = list[Shot]


@dataclass(frozen=True)
class Split:
    """Shots for training, for choosing (validation: gate, stopping point) and for reporting only (test)."""

    train: tuple[Shot, ...]
    validation: tuple[Shot, ...]
    test: tuple[Shot, ...]
    left_out: tuple[Shot, ...] = ()
    """Shots for none of it: they are of sources that are held out."""

    def ids(self) -> dict[str, list[str]]:
        """The shots of each part, by content."""
        return {part: [shot.id for shot in getattr(self, part)] for part in PARTS}


def split_shots(manifest: Manifest, holdout: float) -> Split:
    """Hold out a share of the full videos: whole sources where there are enough of them, else whole shots.

    What else a source has that is held out whole, like blurred or shorter shots, is left out altogether: it can't stand
    for full videos, and no network may learn from it. Without any full video, clips and (if there are three or more)
    low-res videos are held out instead. The choice depends on the shots' content only, so it stays the same when files
    are moved. Raises `UserError` if there are fewer than three videos to share out.
    """
    whole = bool(manifest.supplying("full"))
    kinds = ["full"] if whole else ["clip"] + ["low_res"] * (len(manifest.supplying("low_res")) >= 3)
    by_source = all(len({shot.source for shot in manifest.supplying(kind)}) * holdout >= 2 for kind in kinds)
    groups: dict[str, Group] = defaultdict(list)
    for shot in manifest:
        groups[shot.source if by_source else shot.id].append(shot)
    # Groups in an order as good as random: by the hash of their content.
    ordered = sorted(groups.values(), key=lambda group: min(shot.id for shot in group))
    held_out: tuple[list[Group], list[Group]] = ([], [])
    for kind in kinds:
        _hold_out(manifest, kind, [group for group in ordered if _supplies(group, kind)], holdout, held_out)
    validation, test = ([shot for group in part for shot in group] for part in held_out)
    out = {shot.id for shot in (*validation, *test)}
    return Split(
        tuple(shot for shot in manifest if shot.id not in out),
        *(tuple(s for s in part if not whole or "full" in s.views) for part in (validation, test)),
        tuple(s for s in (*validation, *test) if whole and "full" not in s.views),
    )


def _hold_out(
    manifest: Manifest, kind: str, eligible: list[Group], holdout: float, held_out: tuple[list[Group], list[Group]]
) -> None:
    """Add groups of one kind to the parts that are held out; those that are there for another kind count."""
    if len(eligible) < 3:
        raise UserError(
            f"{manifest.root} has {len(eligible)} video(s) for the '{kind}' view; training, choosing and reporting "
            "need at least one each: add videos, or lower the frame limits of tools/preprocess.py"
        )
    share = max(1, round(holdout * len(eligible) / 2))
    free = [group for group in eligible if not any(group in part for part in held_out)]
    for part in held_out:
        lacking = max(0, share - sum(_supplies(group, kind) for group in part))
        part += free[:lacking]
        free = free[lacking:]


def _supplies(group: Group, kind: str) -> bool:
    return any(kind in shot.views for shot in group)


def split_like(manifest: Manifest, before: Mapping[str, Sequence[str]]) -> Split:
    """The split of before (the shots' ids), as far as the shots are still there, with new shots to train on.

    New ones of a source that was held out whole are left out, as then.
    """
    part_of = {shot_id: part for part in PARTS for shot_id in before.get(part, ())}
    sources = defaultdict(set)
    for shot in manifest:
        sources[part_of.get(shot.id)].add(shot.source)
    whole = (sources["validation"] | sources["test"]) - sources["train"]
    parts: dict[str, Group] = {part: [] for part in PARTS}
    for shot in manifest:
        parts[part_of.get(shot.id, "left_out" if shot.source in whole else "train")].append(shot)
    order = {shot_id: number for number, shot_id in enumerate(part_of)}
    return Split(*(tuple(sorted(part, key=lambda s: order.get(s.id, len(order)))) for part in parts.values()))
