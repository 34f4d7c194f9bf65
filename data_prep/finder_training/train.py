"""Train the finder of what is burnt in, from nothing, on composites that are made on the spot.

    python -m data_prep.finder_training.train BACKGROUNDS OUT --hours 3 --workers 1

BACKGROUNDS holds `videos/`, `photos/` and `text_photos/` (each with a folder for each source), `fonts/`, and
`marks.npz` (`alpha`: marks, uint8 `N 128 128`); none of the videos and photographs may have anything burnt in. Stopped
training goes on where it was. OUT gets `burnt_in.onnx`, `state.pt` and `log.jsonl`. To see what is learned from:

    python -m data_prep.finder_training.train BACKGROUNDS --preview sheet.png
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_prep.finder_training.composite import Composer
from data_prep.finder_training.network import Network, export
from data_prep.finder_training.preview import sheet
from vidboot.data.files import atomic_path, write_atomic
from vidboot.errors import command

# Side of the square cut from the maps for training (half-size pixels), and squares cut from each composite.
CROP, CROPS = 160, 3
# Of the label, pixels that are not known.
UNKNOWN = 255
# Composites of another seed, to see how training goes.
_CHECKED, _OTHER_SEED = 128, 10**9
# A burnt-in thing of this many half-size pixels has weight 1 a pixel; smaller ones have more, up to the second value.
_USUAL, _MOST_WEIGHT = 600.0, 4.0
# Composites on the sheet of `--preview`.
_PREVIEWED = 24

Batch = tuple[np.ndarray, np.ndarray]
"""Maps float16 `B C h w` and labels uint8 `B h w`."""


class Crops(Dataset[Batch]):
    """Squares of the composites `first` to `last`, `CROPS` of each."""

    def __init__(self, composer: Composer, first: int, last: int) -> None:
        self.composer, self.first, self.last = composer, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> Batch:
        cv2.setNumThreads(1)
        number = self.first + index
        made = self.composer.make(number)
        rng = np.random.default_rng([self.composer.seed, number, 1])
        squares = [_square(rng, made.maps, made.burnt_in, part) for part in range(CROPS)]
        return np.stack([s[0] for s in squares]).astype(np.float16), np.stack([s[1] for s in squares])


def _joined(items: list[Batch]) -> Batch:
    """One batch; arrays rather than tensors, which workers would hand over in /dev/shm: that is small in containers."""
    maps, labels = zip(*items, strict=True)
    return np.concatenate(maps), np.concatenate(labels)


def _square(rng: np.random.Generator, maps: np.ndarray, label: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
    """A square of the maps and labels: the first one holds something burnt in, if there is any."""
    _, height, width = maps.shape
    rows, columns = max(0, CROP - height), max(0, CROP - width)
    maps = np.pad(maps, ((0, 0), (0, rows), (0, columns)), mode="edge")
    label = np.pad(label, ((0, rows), (0, columns)), constant_values=UNKNOWN)
    room = np.array(label.shape) - CROP
    place = (rng.uniform(0, 1, 2) * (room + 1)).astype(int)
    found = np.argwhere(label == 1)
    if part == 0 and len(found):
        aim = found[rng.integers(len(found))] - (rng.uniform(0.1, 0.9, 2) * CROP).astype(int)
        place = np.clip(aim, 0, room)
    cut = np.s_[place[0] : place[0] + CROP, place[1] : place[1] + CROP]
    return np.ascontiguousarray(maps[:, *cut]), np.ascontiguousarray(label[cut])


def weights_of(label_hw: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Weight of each pixel: unknown ones have none, those of small things more than others."""
    weights = (label_hw != UNKNOWN).astype(np.float32)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((label_hw == 1).astype(np.uint8))
    each = np.clip(np.sqrt(_USUAL / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)), 1, _MOST_WEIGHT)
    each[0] = 1
    return weights * each[labels].astype(np.float32)


def loss_of(logits: Float[Tensor, "B 1 h w"], labels: UInt8[Tensor, "B h w"]) -> Float[Tensor, ""]:
    """Cross entropy a pixel."""
    weights = torch.from_numpy(np.stack([weights_of(one) for one in labels.cpu().numpy()])).to(logits.device)
    target = (labels == 1).to(logits.dtype)
    # Few pixels are burnt in; twice their weight moves the threshold, which is chosen afterwards, not the order.
    weights = weights * (1 + target)
    each = F.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
    return (each * weights).sum() / weights.sum()


class Trainer:
    """The training's state: network, running average of its weights, optimiser, and how far it has come."""

    def __init__(self, out: Path, seed: int, device: str, composites: int, batch: int, rate: float) -> None:
        self.out, self.device, self.composites, self.batch, self.rate = out, device, composites, batch, rate
        torch.manual_seed(seed)
        self.network = Network().to(device).to(memory_format=torch.channels_last)
        self.average = Network().to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=0.01)
        self.done, self.seconds = 0, 0.0
        if self.state.exists():
            self._load()

    @property
    def state(self) -> Path:
        """The file of the state."""
        return self.out / "state.pt"

    def step(self, maps: np.ndarray, labels: np.ndarray) -> float:
        """Learn from some composites; returns the loss."""
        share = self.done / self.composites
        warm = min(1.0, (self.done + self.batch) / (20 * self.batch))
        for group in self.optimizer.param_groups:
            # A number of Python's: torch refuses to load a state that holds one of numpy's.
            group["lr"] = float(self.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(share, 1)))))
        self.network.train()
        loss = loss_of(self.network(self._input(maps)), torch.from_numpy(labels).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.done += len(maps) // CROPS
        self._average()
        return loss.item()

    def _input(self, maps: np.ndarray) -> Float[Tensor, "B C h w"]:
        x = torch.from_numpy(maps).to(self.device).float()
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(0.995, (1 + self.done / self.batch) / (10 + self.done / self.batch))
        for mine, theirs in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)

    @torch.no_grad()
    def check(self, batches: list[Batch]) -> dict[str, float]:
        """On composites that are not trained on: the loss, and the shares of pixels found and wrong at 0.5."""
        self.average.eval()
        losses, hit, have, wrong, free = [], 0, 0, 0, 0
        for maps, labels in batches:
            logits = self.average(self._input(maps)).cpu()
            true_labels = torch.from_numpy(labels)
            losses.append(float(loss_of(logits, true_labels)))
            said, true, known = logits[:, 0] > 0, true_labels == 1, true_labels != UNKNOWN
            hit, have = hit + int((said & true).sum()), have + int(true.sum())
            wrong, free = wrong + int((said & ~true & known).sum()), free + int((~true & known).sum())
        return {"loss": float(np.mean(losses)), "found": hit / max(have, 1), "wrong": wrong / max(free, 1)}

    def save(self) -> None:
        """Write the state and the network as it is now."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        with atomic_path(self.state) as file:
            torch.save(parts | {"done": self.done, "seconds": self.seconds}, file)
        copy = Network()
        copy.load_state_dict(self.average.state_dict())
        with atomic_path(self.out / "burnt_in.onnx") as file:
            export(copy, file)

    def _load(self) -> None:
        saved = torch.load(self.state, map_location=self.device, weights_only=True)
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        self.done, self.seconds = saved["done"], saved["seconds"]


def train(args: argparse.Namespace) -> None:
    """Train until all composites were seen, or the time is up."""
    composer = Composer.of(args.backgrounds, args.seed, tuple(args.more_videos))
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    trainer = Trainer(args.out, args.seed, args.device, args.composites, args.batch, args.rate)
    if trainer.done + args.batch > args.composites:
        print(f"{args.out}: {trainer.done} of {args.composites} composites are learned, so nothing is left to do")
        return
    options = {"batch_size": args.batch, "num_workers": args.workers, "collate_fn": _joined}
    others = replace(composer, seed=_OTHER_SEED + args.seed)
    checked = list(DataLoader(Crops(others, 0, args.checked), **options))
    start, said, losses = time.monotonic() - trainer.seconds, time.monotonic(), []
    for maps, labels in DataLoader(Crops(composer, trainer.done, args.composites), drop_last=True, **options):
        losses.append(trainer.step(maps, labels))
        trainer.seconds = time.monotonic() - start
        last = trainer.seconds > 3600 * args.hours or trainer.done + args.batch > args.composites
        if last or time.monotonic() - said > args.every:
            _note(trainer, checked, losses)
            trainer.save()
            said, losses = time.monotonic(), []
        if last:
            break


def _note(trainer: Trainer, checked: list[Batch], losses: list[float]) -> None:
    """Print and log how far training has come, and how good it is."""
    note = {"composites": trainer.done, "seconds": round(trainer.seconds), "training": float(np.mean(losses))}
    line = json.dumps(note | trainer.check(checked))
    print(line, flush=True)
    with (trainer.out / "log.jsonl").open("a") as file:
        file.write(line + "\n")


def preview(composer: Composer, path: Path) -> None:
    """Write a sheet of the first composites as PNG."""
    drawn = sheet(
        [composer.make(number) for number in range(_PREVIEWED)],
        f"composites 0 to {_PREVIEWED - 1} of seed {composer.seed}; outlined is what is burnt in",
    )
    write_atomic(path, cv2.imencode(".png", drawn)[1].tobytes())


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backgrounds", type=Path, metavar="BACKGROUNDS")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT")
    parser.add_argument("--preview", type=Path, metavar="FILE.png", help="only draw what is learned from, on one sheet")
    parser.add_argument("--more-videos", type=Path, nargs="*", default=[], help="more folders of videos")
    parser.add_argument("--composites", type=int, default=43000, help="how many are seen; each is seen once")
    parser.add_argument("--hours", type=float, default=3.0, help="stop after so long; the same command goes on")
    parser.add_argument("--workers", type=int, default=1, help="processes that make composites")
    parser.add_argument("--threads", type=int, default=1, help="threads of the training itself")
    parser.add_argument("--batch", type=int, default=16, help="composites a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate")
    parser.add_argument("--checked", type=int, default=_CHECKED, help="composites to see how training goes")
    parser.add_argument("--every", type=float, default=120, help="seconds from one check and checkpoint to the next")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(words)
    if args.preview is None and args.out is None:
        parser.error("give OUT, the folder of the trained network, or --preview")
    if args.preview is not None and args.preview.suffix.lower() != ".png":
        parser.error("--preview writes PNG: give it a name that ends in .png")
    return args


@command
def main() -> None:
    """Train, or draw what would be learned from."""
    args = parsed()
    if args.preview is not None:
        preview(Composer.of(args.backgrounds, args.seed, tuple(args.more_videos)), args.preview)
    else:
        train(args)


if __name__ == "__main__":
    main()
