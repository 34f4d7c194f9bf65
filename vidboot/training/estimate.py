"""What a step of training costs, worked out on `meta` tensors: nothing is computed, nothing is allocated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.distributed import world_size
from vidboot.method.calibration import all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.model.video_model import DATA_CHANNELS, view_network

CPU_WORKSPACE = 0.5
"""What a CPU needs on top of the activations, as a share of them: its convolutions' own copies in blocked layouts, and
gaps between allocations. Measured: the slow tests of this file hold the plan against two runs."""


@dataclass(frozen=True)
class Cost:
    """The cost of a stage's training step, for one process."""

    parameters: int
    flops: float
    """Floating-point operations of a step over all processes: forward and backward, twice the multiply-adds."""
    activations: int
    """Bytes kept for the backward pass of one micro-batch."""
    precision: int
    """Bytes of a weight in the forward pass: 4 or 2."""
    base_flops: float = 0.0
    """Operations of the frozen base's predictions, beside `flops`."""
    frozen: int = 0
    """Bytes of the frozen networks beside it."""
    pulled: bool = False
    """Whether the optimiser keeps the weights that training started from."""

    def memory(self, zero_stage: int, processes: int) -> int:
        """Bytes of weights, gradients, optimiser, average and activations in one process, under a ZeRO stage.

        Adam's two moments (and the pull's start), and in bf16 or under ZeRO a float32 copy of the weights, are shared
        among processes from stage 1 on, gradients from stage 2, weights from stage 3 (arXiv 1910.02054). The average
        is whole in every process.
        """
        count = self.parameters
        copy = 4 if self.precision == 2 or zero_stage else 0
        states = count * ((12 if self.pulled else 8) + copy)
        gradients, weights, average = count * self.precision, count * self.precision, 4 * count
        share = 1 / processes
        states *= share if zero_stage >= 1 else 1
        gradients *= share if zero_stage >= 2 else 1
        weights *= share if zero_stage >= 3 else 1
        working = self.activations * (1.0 if torch.cuda.is_available() else 1 + CPU_WORKSPACE)
        return int(states + gradients + weights + average + working + self.frozen)

    def checkpoint_bytes(self) -> int:
        """Bytes of one checkpoint on disk: weights, optimiser state and average."""
        return self.parameters * (self.precision + (12 if self.pulled else 8) + 4 * (self.precision == 2) + 4)


class TrainedStage(Protocol):
    """What the estimate asks of a stage that trains a network."""

    optimization: OptimizationConfig

    def network(self) -> Preconditioned:
        """The network before training."""
        ...

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """Inputs as in training, for a video of this shape."""
        ...


def network_cost(stage: TrainedStage, config: RunConfig, num_frames: int, scale: int = 1) -> Cost:
    """The cost of a step of a stage's network at a frame count and low-res factor, for this number of processes."""
    optimization = stage.optimization
    micro = optimization.micro_batch_size or optimization.batch_size // world_size()
    kept, flops = training_pass(stage, (micro, *video_shape(config, num_frames, scale)))
    precision = 2 if config.deepspeed.precision == "bf16" else 4
    with torch.device("meta"):
        parameters = count_parameters(stage.network())
    return Cost(
        parameters=parameters,
        flops=flops * optimization.batch_size / micro,
        activations=kept * precision // 4,
        precision=precision,
    )


def video_shape(config: RunConfig, num_frames: int, scale: int = 1) -> tuple[int, int, int, int]:
    """C T H W of a video of the run at a low-res factor."""
    return DATA_CHANNELS, num_frames, config.video.height // scale, config.video.width // scale


def training_pass(stage: TrainedStage, shape_BCTHW: Sequence[int]) -> tuple[int, float]:
    """Bytes that a training pass keeps for the backward pass, in float32, and operations of both passes."""
    with torch.device("meta"):
        network = stage.network()
        network.network.recompute_activations(stage.optimization.activation_checkpointing)
        return forward_backward(network, torch.empty(*shape_BCTHW), stage.example_inputs(shape_BCTHW))


def forward_backward(
    network: Preconditioned, x: Float[Tensor, "B C T H W"], inputs: NetworkInputs = NO_INPUTS
) -> tuple[int, float]:
    """Bytes kept for the backward pass, and operations of both passes."""
    own = {p.untyped_storage()._cdata for p in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        """Note a tensor that is kept for the backward pass, unless it is a weight."""
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = tensor
        return tensor

    counter = FlopCounterMode(display=False)
    with counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            x0_hat = network(x, torch.ones(len(x)), inputs=inputs)
        size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
        x0_hat.square().mean().backward()
    return size, float(counter.get_total_flops())


@torch.no_grad()
def base_flops(config: RunConfig, batch: int, num_frames: int) -> float:
    """Operations of the base's predictions for `batch` full videos, as if it used every estimate."""
    with torch.device("meta"):
        views = (view_network(config, view) for view in config.views.values())
        networks = dict(zip(config.plan.scales, views, strict=True))
        x = torch.empty(batch, DATA_CHANNELS, num_frames, config.video.height, config.video.width)
        with FlopCounterMode(display=False) as counter:
            make_estimates(config.plan, all_estimates(config.plan), by_scale(networks), x, torch.ones(batch))
    return float(counter.get_total_flops())


def count_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in network.parameters())


def weight_bytes(config: RunConfig) -> int:
    """Bytes of the view networks, in float32."""
    with torch.device("meta"):
        return 4 * sum(count_parameters(view_network(config, view)) for view in config.views.values())
