"""The stage that trains one view's network: clips, or low-resolution videos."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from vidboot.config import LowResConfig, RunConfig
from vidboot.data.datasets import ViewDataset, held_out_windows, to_frames
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.data.video import write_video
from vidboot.distributed import device, rank, sum_over_ranks, world_size
from vidboot.errors import UserError
from vidboot.method.denoising_error import denoising_errors
from vidboot.method.edm import Noise, Preconditioned
from vidboot.method.samplers import initial_state, sample_heun
from vidboot.model.video_model import view_network
from vidboot.training.low_res_loss import WithLongVideos, view_loss
from vidboot.training.stage import Stage

logger = logging.getLogger(__name__)


def scale_of(config: RunConfig, name: str) -> int:
    """Low-res factor of the view `name`; 1 for the clip view."""
    view = config.views[name]
    return view.scale if isinstance(view, LowResConfig) else 1


def kind_of(scale: int) -> str:
    """What the manifest calls a view of this low-res factor."""
    return "clip" if scale == 1 else "low_res"


def frame_counts(config: RunConfig, name: str) -> dict[int, float]:
    """Frame counts that the region graph asks of a view's network, with how often to train on each.

    Half of the samples are as long as the view gets, the rest is shared by regions' counts among the shorter ones.
    """
    scale = scale_of(config, name)
    regions = [r for r in config.plan.regions(config.video.num_frames) if r.view.scale == scale]
    counts = Counter(region.view.num_frames for region in regions)
    longest = max(counts)
    shorter = {n: c for n, c in counts.items() if n != longest}
    return {longest: 1.0} | {n: c / sum(shorter.values()) for n, c in shorter.items()}


def view_dataset(config: RunConfig, name: str, shots: Sequence[Shot], seed: int, batch_size: int) -> Dataset:
    """What the view `name` is trained on. Raises `UserError` if there is nothing to draw from."""

    def draw(own: Sequence[Shot], counts: dict[int, float], seed: int) -> ViewDataset:
        return ViewDataset(own, counts, seed, batch_size, config.data, config.run_dir, lenders=shots)

    own = draw(shots_for(config, name, shots), frame_counts(config, name), seed)
    if scale_of(config, name) > 1 or config.long_scale is None:
        return own
    length = config.video.num_frames
    named = f"low_res_{config.long_scale}" if config.clip.long_scale is None else "clip.long_share"
    long = draw(_able(config, "low_res", length, shots, named), {length: 1.0}, seed + config.long_scale)
    return WithLongVideos(own, long, config.long_scale, config.clip.long_share)


def mean_frame_counts(config: RunConfig, name: str) -> dict[int, float]:
    """Share of the steps that a view's network takes on each frame count, long videos of the clip network included."""
    counts = frame_counts(config, name)
    long = config.clip.long_share if scale_of(config, name) == 1 else 0.0
    shares = {n: (1 - long) * weight / sum(counts.values()) for n, weight in counts.items()}
    return shares | ({config.video.num_frames: shares.get(config.video.num_frames, 0.0) + long} if long else {})


def shots_for(config: RunConfig, name: str, shots: Sequence[Shot]) -> list[Shot]:
    """The shots that can train a view: those that supply it and have a window's frames.

    Raises `UserError`, with how much there is, if there are none.
    """
    return _able(config, kind_of(scale_of(config, name)), max(frame_counts(config, name)), shots, name)


def _able(config: RunConfig, kind: str, num_frames: int, shots: Sequence[Shot], name: str) -> list[Shot]:
    longest = (num_frames - 1) * max(config.data.frame_strides) + 1
    able = [shot for shot in shots if kind in shot.views and shot.num_frames >= longest]
    if not able:
        supplying = [shot.num_frames for shot in shots if kind in shot.views]
        raise UserError(
            f"nothing to train {name} on: of {len(shots)} training shots in {config.data.manifest}, {len(supplying)} "
            f"supply this view, none with {longest} frames (longest: {max(supplying, default=0)})"
        )
    return able


def check_size(config: RunConfig, shots: Sequence[Shot], folder: Path) -> None:
    """Raise `UserError` unless the shots of this folder are stored at the configured size."""
    wanted = (config.video.height, config.video.width)
    if other := {(shot.height, shot.width) for shot in shots} - {wanted}:
        height, width = other.pop()
        raise UserError(
            f"{folder} holds videos of {height}×{width}, but video.height and video.width are "
            f"{wanted[0]}×{wanted[1]}: run tools/preprocess.py with height={wanted[0]} width={wanted[1]}"
        )


def view_stage(config: RunConfig, name: str, split: Split) -> Stage:
    """Training of the view `name`. Raises `UserError` if there is nothing to draw from."""
    view, scale, longest = config.views[name], scale_of(config, name), max(frame_counts(config, name))
    # Seeds of the stages differ by name, so that their networks and draws are independent.
    seed = config.seed * 1000 + scale
    torch.manual_seed(seed)
    network = view_network(config, name).to(device())
    # The full video's σ is σ/r in the natural range of a low-res view: the network is asked for levels that far down.
    noise = config.noise.model_copy(update={"sigma_min": config.noise.sigma_min / scale})
    return Stage(
        name=name,
        network=network,
        optimization=view.train,
        dataset=view_dataset(config, name, split.train, seed, view.train.batch_size),
        scale=scale,
        noise=noise,
        loss=view_loss(config.noise.sigma_data),
        evaluate=held_out_error(config, scale, longest, split.validation),
        sample=sample_video(config, scale, longest, noise, split.train[0].fps),
    )


def held_out_error(
    config: RunConfig, scale: int, num_frames: int, shots: Sequence[Shot]
) -> Callable[[Preconditioned], dict[str, float]]:
    """Held-out error of a view network, in its natural range at σ/r for each σ of the config; all processes share.

    Without a held-out shot that supplies the view nothing is measured.
    """
    own = [shot for shot in shots if kind_of(scale) in shot.views and shot.num_frames >= num_frames]
    if not own:
        logger.info("no shot of the '%s' view with %d frames is held out to measure it on", kind_of(scale), num_frames)
        return lambda network: {}
    videos, masks = held_out_windows(own, num_frames, scale, config.evaluation.num_videos)
    share = range(rank(), len(videos), world_size())
    levels = [sigma / scale for sigma in config.evaluation.sigmas]

    def evaluate(network: Preconditioned) -> dict[str, float]:
        errors = denoising_errors(network, videos, levels, masks, share, device())
        means = sum_over_ranks(errors.to(device())).mean(1).tolist()
        return {f"error@{sigma:g}": e for sigma, e in zip(config.evaluation.sigmas, means, strict=True)}

    return evaluate


def sample_video(
    config: RunConfig, scale: int, num_frames: int, noise: Noise, fps: float
) -> Callable[[Preconditioned, Path], None]:
    """Write a sample of the averaged network to a path; always from the same noise, so that progress shows."""

    def sample(network: Preconditioned, path: Path) -> None:
        """Write the sample."""
        sigmas = noise.steps(config.log.sample_steps)
        shape = (1, 3, num_frames, config.video.height // scale, config.video.width // scale)
        start = torch.randn(shape, generator=torch.Generator().manual_seed(config.seed)).to(device())
        video = sample_heun(network, initial_state(network, start, float(sigmas[0])), sigmas)
        write_video(path, to_frames(video[0]), fps)

    return sample
