"""The real videos that a run is compared with: held out from it, and those that it was trained on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import RunConfig
from vidboot.data.datasets import held_out_spans, load_windows, mean_image
from vidboot.data.manifest import Manifest, Shot, check_size
from vidboot.errors import UserError
from vidboot.model.run_folder import SPLIT_FILE


@dataclass(frozen=True)
class HeldOutData:
    """The real videos that a run is compared with."""

    train: tuple[Shot, ...]
    """The run's training shots, as far as the manifest has them."""
    test: tuple[Shot, ...]
    """The shots that no compared model was trained on or chosen by."""
    videos: Float[Tensor, "N C T H W"]
    """Test videos for the denoising errors: as many as the run's configuration says."""
    real: Float[Tensor, "M C T H W"]
    """Test videos for the statistics: at least as many as are generated, if there are so many."""
    mean: Float[Tensor, "C 1 H W"]
    """Mean frame of the test shots."""
    of_shot: tuple[int, ...] = ()
    """For each of `videos`, the number of its shot."""
    real_of_shot: tuple[int, ...] = ()
    """For each of `real`, the number of its shot."""
    seen: tuple[Shot, ...] = ()
    """The shots that any of the compared models was trained on, as far as the manifest has them."""

    @property
    def independent(self) -> Float[Tensor, "V C T H W"]:
        """One of `real` from each shot, because windows of one shot are not independent."""
        first = {shot: number for number, shot in reversed(list(enumerate(self.real_of_shot)))}
        return self.real[sorted(first.values())]


def held_out_data(
    run_dir: Path, manifest: Manifest, config: RunConfig, baselines: Sequence[Path] = (), samples: int = 0
) -> HeldOutData:
    """The manifest's test shots: those of the run's split, and shots of source files that the run has no shots of.

    (The same file preprocessed otherwise gives other shots, but their content is the same.) Shots that a baseline was
    trained on or chosen by are left out. `samples` is how many videos are generated. Raises `UserError` if no shot is
    left, or if a run folder doesn't say what the run was trained on.
    """
    check_size(manifest, config.video.height, config.video.width, manifest.root)
    split = _split_of(run_dir)
    train = tuple(shot for shot in manifest if shot.id in set(split["train"]))
    seen = {shot.id for shot in train} | set(split.get("validation", ()))
    # The run's own test shots first, in the split's order, as for the table at the end of training.
    own = {shot_id: number for number, shot_id in enumerate(split.get("test", ()))}
    files = set(split.get("sources", ()))
    new = [s for s in manifest if "full" in s.views and s.id not in seen and (s.id in own or s.source not in files)]
    theirs = {shot_id for folder in baselines for shot_id in _seen_by(folder)}
    test = sorted((shot for shot in new if shot.id not in theirs), key=lambda shot: own.get(shot.id, len(own)))
    if new and not test:
        raise UserError(
            "the baselines have trained on all of the run's test shots, or were chosen by them: give other --data, or "
            "train the baselines with the run's data.manifest and data.holdout"
        )
    spans = held_out_spans(test, config.video.num_frames, clean=True)
    loaded = load_windows(spans, 1, config.evaluation.num_videos)
    more = load_windows(spans, 1, samples) if samples > config.evaluation.num_videos else loaded
    of_shot, real_of_shot = (tuple(test.index(shot) for shot, _ in windows) for windows in (loaded, more))
    trained = set(split["train"]).union(*(_split_of(folder)["train"] for folder in baselines))
    known = tuple(shot for shot in manifest if shot.id in trained)
    videos, real = (torch.stack([video for _, (video, _) in windows]) for windows in (loaded, more))
    return HeldOutData(train, tuple(test), videos, real, mean_image(test), of_shot, real_of_shot, known)


def _seen_by(run_dir: Path) -> list[str]:
    split = _split_of(run_dir)
    return [*split["train"], *split.get("validation", ())]


def _split_of(run_dir: Path) -> dict[str, Any]:
    split = json.loads((run_dir / SPLIT_FILE).read_text())
    if "train" not in split:
        raise UserError(
            f"{run_dir / SPLIT_FILE} doesn't say which videos the run was trained on: give the folder that "
            "tools/train.py wrote"
        )
    return split


def training_videos(data: HeldOutData, config: RunConfig, count: int) -> Tensor | None:
    """As many full training videos as are generated, one from a shot; None if the manifest has none.

    The page plays them beside the samples. Their statistics are the best that samples can reach: between two small sets
    of real videos, too, there is some distance.
    """
    full = [shot for shot in data.train if "full" in shot.views]  # not long ones of low resolution
    try:
        spans = held_out_spans(full, config.video.num_frames, clean=True)
        first = {shot.id: (shot, frames) for shot, frames in reversed(spans)}
        ordered = [first[shot.id] for shot in full if shot.id in first]
        return torch.stack([video for _, (video, _) in load_windows(ordered, 1, count)])
    except UserError:
        return None
