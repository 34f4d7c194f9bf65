"""Held-out error while a network trains: of view networks on their own view, of others on full videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import EvaluationConfig, RunConfig
from vidboot.data.datasets import held_out_windows
from vidboot.data.manifest import Shot
from vidboot.distributed import device, share_of, sum_over_ranks
from vidboot.method.composition import Denoiser, Network
from vidboot.method.denoising_error import denoising_errors, edm_weights, fixed_noise
from vidboot.method.gate import GateFit
from vidboot.method.halving import best
from vidboot.method.network_inputs import NetworkInputs


class HeldOutWindows:
    """Held-out windows of one view in its natural range, with fixed noise.

    Raises `UserError` if no shot has as many frames.
    """

    def __init__(self, shots: Sequence[Shot], num_frames: int, scale: int, evaluation: EvaluationConfig) -> None:
        self.sigmas, self.scale = evaluation.sigmas, scale
        self.videos, self.masks = held_out_windows(shots, num_frames, scale, evaluation.num_videos)

    def evaluate(self, network: Denoiser) -> dict[str, float]:
        """Error of a network at σ/r for each σ of the config (r the low-res factor); the processes share the work."""
        levels = [sigma / self.scale for sigma in self.sigmas]
        errors = denoising_errors(network, self.videos, levels, self.masks, share_of(len(self.videos)), device())
        means = sum_over_ranks(errors.to(device())).mean(1).tolist()
        return {f"error@{sigma:g}": e for sigma, e in zip(self.sigmas, means, strict=True)}


@dataclass(frozen=True)
class Measured:
    """A network gated towards one of the bases, measured on held-out videos."""

    base: str
    fit: GateFit
    errors: Float[np.ndarray, "n"]
    """Error of each video, EDM-weighted over the noise levels, with the gate that the other videos give."""


class HeldOut:
    """Held-out full videos with fixed noise, by which a training's stopping point, its gate and its base are chosen.

    `bases` are denoisers that networks may be gated towards, the cheapest first. Their predictions are made at their
    first use and kept in memory. Raises `UserError` if there is no full video.
    """

    def __init__(self, config: RunConfig, bases: Mapping[str, Denoiser], shots: Sequence[Shot]) -> None:
        self.config, self.bases = config, bases
        self.sigmas = config.evaluation.sigmas
        self.videos, _ = held_out_windows(shots, config.video.num_frames, 1, config.evaluation.num_videos, clean=True)
        self.predictions: dict[tuple[str, int, int], Tensor] = {}

    def measure(self, network: Network, bases: Sequence[str] | None = None) -> Measured:
        """The network, gated towards the best of these bases (None: of all); only a network that reads it is shown one.

        A dearer base must be better than a cheaper one beyond chance (see `vidboot.method.halving`).
        """
        fits = self._fits(network, list(self.bases) if bases is None else bases)
        found = {base: Measured(base, fit, self.weighted(fit.cross_fitted())) for base, fit in fits.items()}
        return found[best({base: measured.errors for base, measured in found.items()})]

    def evaluate(self, network: Network, bases: Sequence[str] | None = None) -> dict[str, float]:
        """Error of base + gated residual: at each σ (`error@σ`), and the EDM-weighted mean of these (`error`).

        `ungated` is that mean for the network alone.
        """
        fit = self.measure(network, bases).fit
        errors, alone = fit.cross_fitted(), fit.errors(torch.ones(len(fit.sigmas), dtype=torch.float64))
        means = {"error": self.weighted(errors).mean(), "ungated": self.weighted(alone).mean()}
        at_sigma = zip(fit.sigmas, errors.mean(1).tolist(), strict=True)
        return {name: float(mean) for name, mean in means.items()} | {f"error@{s:g}": error for s, error in at_sigma}

    def weighted(self, errors_SN: Float[Tensor, "S N"]) -> Float[np.ndarray, "n"]:
        """The EDM-weighted mean over the noise levels, of each video."""
        weights = edm_weights(sorted(self.sigmas), self.config.noise.sigma_data)
        weighted: Float[np.ndarray, n] = (weights @ errors_SN).numpy()
        return weighted

    @torch.no_grad()
    def _fits(self, network: Network, bases: Sequence[str]) -> dict[str, GateFit]:
        """The gate's terms towards each base. Each process takes its share of the videos."""
        fits = {base: GateFit(self.sigmas, len(self.videos)) for base in bases}
        for n in share_of(len(self.videos)):
            x0 = self.videos[n : n + 1].to(device())
            for s, sigma in enumerate(self.sigmas):
                level = x0.new_full((1,), sigma)
                x = x0 + sigma * fixed_noise(x0.shape[1:], n, s).to(device())
                predicted = {base: self._prediction(base, n, s, x, level) for base in bases}
                x0_hat = network(x, level, inputs=NetworkInputs(base=predicted[bases[-1]]))
                for base, fit in fits.items():
                    fit.add(n, sigma, predicted[base], x0_hat, x0)
        for fit in fits.values():
            fit.terms = sum_over_ranks(fit.terms.to(device())).cpu()
        return fits

    def _prediction(self, base: str, n: int, s: int, x: Tensor, level: Tensor) -> Tensor:
        """A base's prediction of video n at noise level s: made once."""
        if (base, n, s) not in self.predictions:
            self.predictions[base, n, s] = self.bases[base](x, level).cpu()
        return self.predictions[base, n, s].to(device())
