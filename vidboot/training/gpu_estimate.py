"""The peak memory of a process on a GPU, simulated: in training steps, and where videos are denoised beside them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from vidboot.config import RunConfig
from vidboot.distributed import world_size
from vidboot.method.calibration import all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.edm import add_noise, denoising_loss
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.video_model import view_network
from vidboot.networks.precision import in_bf16
from vidboot.training.computing import ComputedNetwork
from vidboot.training.engine import batch_per_process, micro_batch, zero_stage
from vidboot.training.estimate import Cost, TrainedStage, video_shape
from vidboot.training.networks import unet_of
from vidboot.training.simulation import simulate


@dataclass(frozen=True)
class Peak:
    """Peak bytes in a process."""

    training: int
    denoising: int
    """Beside the state of the training: held-out errors and samples."""


def training_peak(stage: TrainedStage, num_frames: int) -> int:
    """Peak bytes of a process in a training step, beside `state_bytes`."""
    optimization = stage.optimization
    share, micro = batch_per_process(optimization)[0], micro_batch(optimization, stage.num_frames, num_frames)
    bf16 = stage.config.deepspeed.precision == "bf16"
    with torch.device("meta"):
        network = stage.network()
        unet_of(network).recompute_activations(optimization.activation_checkpointing)
        shape = (micro, *video_shape(stage.config, num_frames, stage.scale))
        step = _step(ComputedNetwork(network, bf16), stage, shape)
        # Gradients of the first micro-batch are there while the second is computed.
        return simulate(lambda: [step() for _ in range(min(2, share // micro))]).peak


def _step(network: nn.Module, stage: TrainedStage, shape: tuple[int, ...]) -> Callable[[], None]:
    """A micro-batch, forwards and backwards."""

    def step() -> None:
        """Noise, network, loss and gradients."""
        x0, noise, sigma = torch.empty(shape), torch.empty(shape), torch.ones(shape[0])
        mask, inputs = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool), stage.example_inputs(shape)
        x0_hat = network(add_noise(x0, sigma, noise, mask), sigma, replace(inputs, observed_mask=mask))
        denoising_loss(x0_hat, x0, sigma, stage.config.noise.sigma_data, mask, mask).mean().backward()

    return step


def state_bytes(config: RunConfig, cost: Cost) -> int:
    """Bytes of weights, optimiser, EMA, and what DeepSpeed sends gradients from, in one process."""
    stage, settings = zero_stage(config.deepspeed), config.deepspeed.zero_optimization
    bucket = int(str(settings.get("reduce_bucket_size", 500_000_000))) * (2 if settings.get("overlap_comm") else 1)
    return cost.states(stage, world_size()) + (4 * bucket if stage else 0)


@torch.no_grad()
def denoising_peak(config: RunConfig, network: Callable[[], Any], num_frames: int, scale: int = 1) -> int:
    """Peak bytes while a network denoises one video, as for held-out errors and samples."""
    return _denoising(config, lambda x: _frozen(config, network())(x, torch.ones(1)), num_frames, scale)


@torch.no_grad()
def base_peak(config: RunConfig, num_frames: int, batch: int = 1, residual: Callable[[], Any] | None = None) -> int:
    """Peak bytes while the base predicts full videos, by all its estimates, and then the residual network, if given."""

    def predict(x: torch.Tensor) -> torch.Tensor:
        """The last prediction."""
        x = x.expand(batch, *x.shape[1:])
        networks = {
            scale: _frozen(config, view_network(config, view))
            for scale, view in zip(config.plan.scales, config.views.values(), strict=True)
        }
        estimates = all_estimates(config.plan)
        make_estimates(config.plan, estimates, by_scale(networks), x, torch.ones(batch), config.max_batch_frames)
        if residual is None:
            return x
        return _frozen(config, residual())(x, torch.ones(batch), inputs=NetworkInputs(base=torch.empty_like(x)))

    return _denoising(config, predict, num_frames, 1)


def _denoising(config: RunConfig, predict: Callable[[torch.Tensor], object], num_frames: int, scale: int) -> int:
    with torch.device("meta"):
        x = torch.empty(1, *video_shape(config, num_frames, scale))
        return simulate(lambda: predict(x.clone())).peak


def _frozen(config: RunConfig, network: Any) -> Any:
    """The network as it computes on a GPU where nothing is learnt."""
    return in_bf16(network) if config.deepspeed.precision == "bf16" else network
