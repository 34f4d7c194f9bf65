"""Held-out full videos: the stopping point of a training and the gate are chosen on them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vidboot.config import RunConfig
from vidboot.data.datasets import held_out_windows
from vidboot.data.manifest import Shot
from vidboot.distributed import device, rank, sum_over_ranks, world_size
from vidboot.method.composition import Denoiser, Network
from vidboot.method.denoising_error import edm_weighted, fixed_noise
from vidboot.method.edm import squared_error
from vidboot.method.gate import Gate, GateFit
from vidboot.method.network_inputs import NetworkInputs


class HeldOut:
    """Held-out full videos with fixed noise: the stopping point and the gate are chosen on them.

    The base's predictions are made once, at the first use, and kept in memory.
    """

    def __init__(self, config: RunConfig, base: Denoiser, shots: Sequence[Shot]) -> None:
        self.config, self.base = config, base
        self.sigmas = config.evaluation.sigmas
        self.videos, _ = held_out_windows(shots, config.video.num_frames, 1, config.evaluation.num_videos, clean=True)
        self.predictions: dict[tuple[int, int], Tensor] = {}

    def _fit(self, network: Network) -> tuple[GateFit, dict[float, float]]:
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
                    fit.add(sigma, base, network(x, level, inputs=NetworkInputs(base=base)), x0)
                    base_error[sigma] += squared_error(base, x0).item() / len(self.videos)
        fit.sums = sum_over_ranks(fit.sums.to(device())).cpu()
        errors = sum_over_ranks(torch.tensor([*base_error.values()], dtype=torch.float64, device=device()))
        return fit, dict(zip(base_error, errors.tolist(), strict=True))

    def evaluate(self, network: Network) -> dict[str, float]:
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

    def gate(self, network: Network) -> Gate:
        """The gate of a trained network."""
        return self._fit(network)[0].gate()
