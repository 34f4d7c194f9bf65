"""Held-out error while a network trains: of view networks on their own view, of others on full videos."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vidboot.config import EvaluationConfig, RunConfig
from vidboot.data.datasets import held_out_windows
from vidboot.data.manifest import Shot
from vidboot.distributed import device, share_of, sum_over_ranks
from vidboot.method.composition import Denoiser, Network
from vidboot.method.denoising_error import denoising_errors, edm_weighted, fixed_noise
from vidboot.method.edm import squared_error
from vidboot.method.gate import Gate, GateFit
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


class HeldOut:
    """Held-out full videos with fixed noise, by which a training's stopping point and the gate are chosen.

    The base's predictions are made at their first use and kept in memory. Raises `UserError` if there is no full video.
    """

    def __init__(self, config: RunConfig, base: Denoiser, shots: Sequence[Shot]) -> None:
        self.config, self.base = config, base
        self.sigmas = config.evaluation.sigmas
        self.videos, _ = held_out_windows(shots, config.video.num_frames, 1, config.evaluation.num_videos, clean=True)
        self.predictions: dict[tuple[int, int], Tensor] = {}

    def _fit(self, network: Network) -> tuple[GateFit, dict[float, float]]:
        """Sums for the gate, and the base's error at each σ. Each process takes its share of the videos."""
        fit, base_error = GateFit(self.sigmas), dict.fromkeys(self.sigmas, 0.0)
        with torch.no_grad():
            for n in share_of(len(self.videos)):
                x0 = self.videos[n : n + 1].to(device())
                for s, sigma in enumerate(self.sigmas):
                    level = x0.new_full((1,), sigma)
                    x = x0 + sigma * fixed_noise(x0.shape[1:], n, s).to(device())
                    if (n, s) not in self.predictions:
                        self.predictions[n, s] = self.base(x, level).cpu()
                    base = self.predictions[n, s].to(device())
                    fit.add(sigma, base, network(x, level, inputs=NetworkInputs(base=base)), x0)
                    base_error[sigma] += squared_error(base, x0).item() / len(self.videos)
        fit.sums = sum_over_ranks(fit.sums.to(device())).cpu()
        errors = sum_over_ranks(torch.tensor([*base_error.values()], dtype=torch.float64, device=device()))
        return fit, dict(zip(base_error, errors.tolist(), strict=True))

    def evaluate(self, network: Network) -> dict[str, float]:
        """Error of base + gated residual: at each σ (`error@σ`), and the EDM-weighted mean of these (`error`).

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

    def gate(self, network: Network) -> Gate:
        """The gate of a trained network."""
        return self._fit(network)[0].gate()
