"""What a step of training costs, worked out on `meta` tensors: nothing is computed, nothing is allocated."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidboot.config import RunConfig, optimization_of
from vidboot.distributed import world_size
from vidboot.method.calibration import all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.edm import Preconditioned
from vidboot.model.video_model import DATA_CHANNELS, residual_network, view_network

CPU_WORKSPACE = 0.5
"""What a CPU needs on top of the activations, as a share of them: its convolutions' own copies in blocked layouts, and
gaps between allocations. Measured: the slow tests of this file hold the plan against two runs."""


@dataclass(frozen=True)
class Cost:
    """The cost of a stage's training step, for one process."""

    parameters: int
    flops: float
    """Floating-point operations of a step over all processes: forward and backward, twice the multiply-adds."""
    base_flops: float
    """Beside them, for the frozen base's predictions."""
    activations: int
    """Bytes kept for the backward pass of one micro-batch."""
    frozen: int
    """Bytes of the frozen networks beside it."""
    precision: int
    """Bytes of a weight in the forward pass: 4 or 2."""
    pulled: bool

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


def step_cost(config: RunConfig, name: str, num_frames: int) -> Cost:
    """The cost of a step of the stage `name` at its longest frame count."""
    optimization = optimization_of(config, name)
    scale = dict(zip(config.views, config.plan.scales, strict=True)).get(name, 1)
    with torch.device("meta"):
        network = network_of(config, name)
        network.network.recompute_activations(optimization.activation_checkpointing)
        micro = optimization.micro_batch_size or optimization.batch_size // world_size()
        x = torch.empty(micro, 3, num_frames, config.video.height // scale, config.video.width // scale)
        inputs = {"mask": torch.ones_like(x[:, :1], dtype=torch.bool)} if name != "residual" else {"base": x}
        kept, flops = forward_backward(network, x, inputs)
    of_base = base_flops(config, micro, num_frames) if name == "residual" else 0.0
    precision = 2 if config.deepspeed.precision == "bf16" else 4
    pulled = name == "residual" and config.residual.pull > 0
    return Cost(
        parameters=_count(network),
        flops=flops * optimization.batch_size / micro,
        base_flops=of_base * optimization.batch_size / micro,
        activations=kept * precision // 4,
        frozen=_view_bytes(config) if name == "residual" else 0,
        precision=precision,
        pulled=pulled,
    )


def network_of(config: RunConfig, name: str) -> Preconditioned:
    """The untrained network of the stage `name`."""
    if name == "residual":
        return residual_network(config)
    return view_network(config, name if name in config.views else "clip")


def forward_backward(network: Preconditioned, x: Tensor, inputs: dict[str, Tensor]) -> tuple[int, float]:
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
            x0_hat = network(x, torch.ones(len(x)), **inputs)
        size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
        x0_hat.square().mean().backward()
    return size, float(counter.get_total_flops())


@torch.no_grad()
def base_flops(config: RunConfig, batch: int, num_frames: int) -> float:
    """Operations of the base's predictions for `batch` full videos, as if it used every estimate."""
    with torch.device("meta"):
        networks = dict(zip(config.plan.scales, (view_network(config, name) for name in config.views), strict=True))
        x = torch.empty(batch, DATA_CHANNELS, num_frames, config.video.height, config.video.width)
        with FlopCounterMode(display=False) as counter:
            make_estimates(config.plan, all_estimates(config.plan), by_scale(networks), x, torch.ones(batch))
    return float(counter.get_total_flops())


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _view_bytes(config: RunConfig) -> int:
    with torch.device("meta"):
        return 4 * sum(_count(view_network(config, name)) for name in config.views)
