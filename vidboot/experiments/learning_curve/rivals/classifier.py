"""From which noise level on one kind of videos can't be told from another: a small classifier of noisy videos."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidboot.config import NoiseConfig
from vidboot.method.edm import of_pixels
from vidboot.networks.unet import NumberEmbedding
from vidboot.training.batch import Batch

EPSILON = 0.05
"""How far above 1/2 a probability may be that tells nothing (`cls_epsilon` of the code of arXiv 2506.10038)."""
LEVELS = 24
"""Noise levels that the classifier is asked at, evenly over ln σ."""
ASKED = 16
"""Batches of each kind that it is asked about."""
RATE, WIDTH = 5e-3, 16
"""Adam's learning rate, and channels of the layers; untuned."""

Draw = Callable[[], Batch]
"""Gives other videos with each call, of one kind, with noise and levels."""


@dataclass(frozen=True)
class Classification:
    """What was found."""

    sigma_min: float
    """The least level from which on poor videos can't be told from good ones; infinite if they always can."""
    sigmas: tuple[float, ...]
    probabilities: tuple[float, ...]
    """Mean probability of a poor video that it is poor, at each of the levels."""
    operations: float
    """What it took to train the classifier."""

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> "Classification":
        """Read what `write` wrote."""
        stored: dict[str, Any] = json.loads(path.read_text())
        return cls(**stored)


class NoisyClassifier(nn.Module):
    """The logit of P(poor | x, σ), for videos of any length.

    Poor videos differ in their texture, so what is looked at is how strongly each of some filters responds in a frame:
    the logarithm of its mean square. What frames say is averaged.
    """

    def __init__(self, channels: int, sigma_data: float) -> None:
        super().__init__()
        self.sigma_data = sigma_data
        self.first = nn.Conv2d(channels, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.embed = NumberEmbedding(2 * WIDTH)
        self.of_frame = nn.Sequential(
            nn.Linear(4 * WIDTH, 4 * WIDTH), nn.SiLU(), nn.Linear(4 * WIDTH, 4 * WIDTH), nn.SiLU()
        )
        self.head = nn.Linear(4 * WIDTH, 1)

    def forward(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The logit of each item."""
        num_frames = x.shape[2]
        scaled = x * of_pixels((sigma**2 + self.sigma_data**2).rsqrt())
        fine = self.first(rearrange(scaled, "b c t h w -> (b t) c h w"))
        coarse = self.second(F.silu(fine))
        level_NE = F.silu(self.embed(sigma.log() / 4)).repeat_interleave(num_frames, dim=0)
        features = self.of_frame(torch.cat([_log_energy(fine), _log_energy(coarse), level_NE], dim=1))
        logit: Tensor = self.head(reduce(features, "(b t) c -> b c", "mean", t=num_frames))
        return logit[:, 0]


def _log_energy(responses: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C"]:
    """The logarithm of each channel's mean square."""
    return responses.square().mean((2, 3)).add(1e-6).log()


def classify(good: Draw, poor: Draw, noise: NoiseConfig, operations: float) -> Classification:
    """Train a classifier with so many operations, and ask it about other poor videos."""
    example = good()
    classifier = NoisyClassifier(example.x0.shape[1], noise.sigma_data).to(example.x0.device)
    of_step = step_operations(classifier, example)
    steps = max(1, round(operations / of_step))
    train_classifier(classifier, good, poor, steps)
    levels = torch.linspace(math.log(noise.sigma_min), math.log(noise.sigma_max), LEVELS).exp().tolist()
    asked = [(good(), poor()) for _ in range(ASKED)]
    probabilities = [telling(classifier, asked, sigma) for sigma in levels]
    return Classification(
        least_level(levels, probabilities), tuple(levels), tuple(probabilities), operations=steps * of_step
    )


def step_operations(classifier: NoisyClassifier, batch: Batch) -> float:
    """Operations of a step on such a batch of good videos and one of poor ones, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        classifier(_noisy(batch), batch.sigma).sum().backward()
    classifier.zero_grad()
    return 2.0 * counter.get_total_flops()


def train_classifier(classifier: NoisyClassifier, good: Draw, poor: Draw, steps: int) -> None:
    """Train on as many good as poor videos, so that 1/2 is what nothing is known from."""
    optimizer = torch.optim.Adam(classifier.parameters(), RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        for draw, label in ((good, 0.0), (poor, 1.0)):
            batch = draw()
            logits = classifier(_noisy(batch), batch.sigma)
            F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label)).backward()
        optimizer.step()


@torch.no_grad()
def telling(classifier: NoisyClassifier, batches: Sequence[tuple[Batch, Batch]], sigma: float) -> float:
    """Mean of P(poor | x0 + σ n, σ) over poor videos, from batches of good and poor ones.

    Half of P and half of 1 − P of the good ones. If P is right these are the same; if it leans to one side at a level,
    so that it would seem to know something where it knows nothing, they cancel.
    """
    means = []
    for batches_of_kind in zip(*batches, strict=True):
        found = [classifier(_noisy(b, level), level) for b in batches_of_kind for level in [_at(b, sigma)]]
        means.append(float(torch.cat(found).sigmoid().mean()))
    of_good, of_poor = means
    return (of_poor + 1 - of_good) / 2


def _at(batch: Batch, sigma: float) -> Float[Tensor, "B"]:
    """A level for each item."""
    return torch.full_like(batch.sigma, sigma)


def least_level(levels: Sequence[float], probabilities: Sequence[float]) -> float:
    """The least of the rising levels from which on no probability tells anything; infinite if the last one does.

    From which on, not at which first: what noise has made equal stays equal. And at low levels, which are rare in
    training, a classifier may know nothing yet.
    """
    telling = [n for n, probability in enumerate(probabilities) if probability >= 0.5 + EPSILON]
    first = telling[-1] + 1 if telling else 0
    return levels[first] if first < len(levels) else math.inf


def _noisy(batch: Batch, sigma: Tensor | None = None) -> Tensor:
    """The batch's videos with its noise, at its levels or these."""
    return batch.x0 + of_pixels(batch.sigma if sigma is None else sigma) * batch.noise
