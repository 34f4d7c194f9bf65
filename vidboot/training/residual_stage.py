"""The stages on full videos: calibrating the base, then training the residual network and fitting its gate."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import RunConfig
from vidboot.data.datasets import ViewDataset, held_out_spans, held_out_windows, to_frames
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.data.video import write_video
from vidboot.distributed import device, rank, sum_over_ranks, world_size
from vidboot.errors import UserError
from vidboot.method.calibration_fit import fit_calibration
from vidboot.method.composition import Denoiser
from vidboot.method.conditioning import Known
from vidboot.method.denoising_error import edm_weighted, fixed_noise
from vidboot.method.edm import Preconditioned, add_noise, denoising_loss, squared_error
from vidboot.method.gate import OPEN, Gate, GateFit
from vidboot.method.samplers import initial_state, sample_heun
from vidboot.model.run_folder import save_calibration
from vidboot.model.video_model import VideoModel, residual_network
from vidboot.training.context_fit import calibrate_told
from vidboot.training.stage import Batch, Stage


def full_shots(config: RunConfig, shots: Sequence[Shot]) -> list[Shot]:
    """The full videos among `shots`: all frames at full resolution; at most `data.max_full_videos`.

    What is masked in them is filled in and not asked for, as for the view networks.

    Raises `UserError` if there are none.
    """
    full = [shot for shot in shots if "full" in shot.views and shot.num_frames >= config.video.num_frames]
    if not full:
        raise UserError(
            f"nothing to train the residual on: no training shot in {config.data.manifest} is a full video of "
            f"{config.video.num_frames} frames. Set residual=null calibration=null to generate from the views alone"
        )
    return sorted(full, key=lambda shot: shot.id)[: config.data.max_full_videos]


def check_held_out(config: RunConfig, shots: Sequence[Shot]) -> None:
    """Raise `UserError` if there is no full video to choose by among the `shots`; reads masks, but no video."""
    held_out_spans(shots, config.video.num_frames, clean=True)


def calibrate(config: RunConfig, model: VideoModel, split: Split) -> None:
    """Fit the base's weights on held-out full videos, and store them in the run folder (design: calibration)."""
    settings = config.calibration
    videos, _ = held_out_windows(split.validation, config.video.num_frames, 1, settings.num_videos, clean=True)
    calibration = fit_calibration(
        config.plan,
        model.denoiser_of,
        [video[None].to(device()) for video in videos],
        settings.sigmas,
        torch.Generator().manual_seed(config.seed),
        config.max_batch_frames,
        progress=rank() == 0,
        draws=settings.draws(len(videos)),
    )
    told = calibrate_told(config, model, videos, split.train) if config.data.context else None
    if rank() == 0:
        save_calibration(config.run_dir, calibration, told)


def residual_frame_counts(config: RunConfig) -> dict[int, float]:
    """Share of the residual's steps on each frame count: windows of a longer video meet in `overlap` frames, where D is
    called too."""
    return {config.video.num_frames: 0.8, config.video.overlap: 0.2}


def residual_stage(config: RunConfig, model: VideoModel, split: Split, held_out: "HeldOut") -> Stage:
    """Training of D_θ, warm-started from the clip network, beside the frozen base of `model`."""
    settings = config.residual
    shots = full_shots(config, split.train)
    seed = config.seed * 1000
    torch.manual_seed(seed)
    network = residual_network(config).to(device())
    network.network.warm_start(model.views["clip"].network)
    return Stage(
        name="residual",
        network=network,
        optimization=settings.train,
        dataset=ViewDataset(
            shots,
            residual_frame_counts(config),
            seed,
            settings.train.batch_size,
            config.data,
            config.run_dir,
            settings.draws,
            split.train,
        ),
        noise=config.noise.model_copy(update={"p_mean": settings.p_mean, "p_std": settings.p_std}),
        loss=_residual_loss(model, config),
        evaluate=held_out.evaluate,
        sample=_sample_full(config, model, shots[0].fps),
        pull=settings.pull,
        choose_by="error",
    )


def _residual_loss(model: VideoModel, config: RunConfig) -> Callable[..., Float[Tensor, "B"]]:
    """λ · (‖D_θ − x0‖² + penalty · ‖D_θ − D_base‖²) of each item, with the λ and the mean of `denoising_loss`.

    The pull towards the start is the optimiser's.
    """
    kept: dict[int, Tensor] | None = None if config.residual.draws is None else {}

    def loss(network: Callable[..., Tensor], batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item; no gradient goes through the base."""
        with torch.no_grad():
            base = _base(model, batch) if kept is None else _kept_base(model, batch, kept)
        x = add_noise(batch.x0, batch.sigma, batch.noise, batch.mask, batch.context)
        x0_hat = network(x, batch.sigma, mask=batch.mask, context=batch.context, base=base, **batch.conditions)

        def distance(target: Tensor) -> Float[Tensor, "B"]:
            masks = batch.mask, batch.known, batch.context
            return denoising_loss(x0_hat, target, batch.sigma, config.noise.sigma_data, *masks)

        return distance(batch.x0) + config.residual.penalty * distance(base)

    return loss


def _base(model: VideoModel, batch: Batch) -> Float[Tensor, "B C T H W"]:
    """The base's predictions; items with hidden pixels, context or conditions are made one by one."""
    x = add_noise(batch.x0, batch.sigma, batch.noise, batch.mask)
    context = torch.zeros_like(batch.mask) if batch.context is None else batch.context
    plain = batch.mask.flatten(1).all(1) & ~context.flatten(1).any(1) & (not batch.conditions)
    made = torch.empty_like(x)
    if plain.any():
        made[plain] = model.base(x[plain], batch.sigma[plain])
    for n in (~plain).nonzero().flatten().tolist():
        one = slice(n, n + 1)
        own = model.given(**{name: int(values[n]) for name, values in batch.conditions.items()})
        own = own.observing(batch.mask[one], Known.of_pixels(batch.x0[one], context[one]))
        made[one] = own.base(x[one], batch.sigma[one])
    return made


def _kept_base(model: VideoModel, batch: Batch, kept: dict[int, Tensor]) -> Float[Tensor, "B C T H W"]:
    """The base's predictions, from `kept` (by the items' seeds) if they were made before."""
    if any(seed not in kept for seed in batch.seeds):
        kept.update(zip(batch.seeds, _base(model, batch).cpu(), strict=True))
    return torch.stack([kept[seed] for seed in batch.seeds]).to(batch.x0.device)


class HeldOut:
    """Held-out full videos with fixed noise: the stopping point and the gate are chosen on them.

    The base's predictions are made once, at the first use, and kept in memory.
    """

    def __init__(self, config: RunConfig, base: Denoiser, shots: Sequence[Shot]) -> None:
        self.config, self.base = config, base
        self.sigmas = config.evaluation.sigmas
        self.videos, _ = held_out_windows(shots, config.video.num_frames, 1, config.evaluation.num_videos, clean=True)
        self.predictions: dict[tuple[int, int], Tensor] = {}

    def _fit(self, network: Preconditioned) -> tuple[GateFit, dict[float, float]]:
        """Sums for the gate, and the base's error at each σ, over this process's share, then over all."""
        fit, base_error = GateFit(self.sigmas), dict.fromkeys(self.sigmas, 0.0)
        with torch.no_grad():
            for n in range(rank(), len(self.videos), world_size()):
                x0 = self.videos[n : n + 1].to(device())
                for s, sigma in enumerate(self.sigmas):
                    level = x0.new_full((1,), sigma)
                    x = x0 + sigma * fixed_noise(x0.shape[1:], n, s).to(device())
                    if (n, s) not in self.predictions:
                        self.predictions[n, s] = self.base(x, level).cpu()
                    base = self.predictions[n, s].to(device())
                    fit.add(sigma, base, network(x, level, base=base), x0)
                    base_error[sigma] += squared_error(base, x0).item() / len(self.videos)
        fit.sums = sum_over_ranks(fit.sums.to(device())).cpu()
        errors = sum_over_ranks(torch.tensor([*base_error.values()], dtype=torch.float64, device=device()))
        return fit, dict(zip(base_error, errors.tolist(), strict=True))

    def evaluate(self, network: Preconditioned) -> dict[str, float]:
        """Error of base + gated residual at each σ, and their EDM-weighted mean, `error`, which chooses the stop.

        `ungated` is that mean for the network alone. With γ the gate,
        ‖D − x0‖² = ‖D_base − x0‖² − 2γ⟨D_θ − D_base, x0 − D_base⟩ + γ²‖D_θ − D_base‖².
        """
        fit, base_error = self._fit(network)
        gated, ungated = (
            {sigma: base_error[sigma] - gain / self.videos.numel() for sigma, gain in fit.gains(gate).items()}
            for gate in (fit.gate(), Gate(fit.sigmas, (1.0,) * len(fit.sigmas)))
        )
        means = {
            "error": edm_weighted(gated, self.config.noise.sigma_data),
            "ungated": edm_weighted(ungated, self.config.noise.sigma_data),
        }
        return means | {f"error@{sigma:g}": error for sigma, error in gated.items()}

    def gate(self, network: Preconditioned) -> Gate:
        """The gate of a trained network."""
        return self._fit(network)[0].gate()


def _sample_full(config: RunConfig, model: VideoModel, fps: float) -> Callable[[Preconditioned, Path], None]:
    def sample(network: Preconditioned, path: Path) -> None:
        """Write a sample of the network alone, its gate open, to a path; always from the same noise."""
        sigmas = config.noise.steps(config.log.sample_steps)
        whole = VideoModel(config, model.views, network, OPEN, model.calibration)
        shape = (1, 3, config.video.num_frames, config.video.height, config.video.width)
        start = torch.randn(shape, generator=torch.Generator().manual_seed(config.seed)).to(device())
        x = initial_state(whole.full, start, float(sigmas[0]))
        write_video(path, to_frames(sample_heun(whole.full, x, sigmas)[0]), fps)

    return sample
