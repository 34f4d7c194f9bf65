"""What a training step costs, worked out on `meta` tensors: nothing is computed, and no memory is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.method.calibration import all_estimates, make_estimates
from vidboot.method.composition import by_scale
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.model.video_model import DATA_CHANNELS, view_network
from vidboot.training.engine import micro_batch
from vidboot.training.networks import unet_of

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

CPU_WORKSPACE = 0.5
"""Extra memory of a CPU, as a share of the activations: its convolutions copy them into blocked layouts, and
allocations leave gaps. Measured: the slow test of this file compares the plan with two runs."""


@dataclass(frozen=True)
class Cost:
    """The cost of a stage's training step."""

    parameters: int
    flops: float
    """Floating-point operations of a step over all processes: forward and backward, twice the multiply-adds."""
    activations: int
    """Bytes that one process keeps for the backward pass of a micro-batch."""
    precision: int
    """Bytes of a weight in the forward pass: 4 or 2."""
    base_flops: float = 0.0
    """Operations of the frozen base's predictions; not part of `flops`."""
    base_once: bool = False
    """Whether these predictions are made once and kept, instead of in every step."""
    frozen: int = 0
    """Bytes of the frozen networks that are needed too."""
    pulled: bool = False
    """Whether the optimiser keeps the weights that training started from (see `L2SPAdamW`)."""

    @property
    def _optimizer_bytes(self) -> int:
        """Bytes of the optimiser's state for each weight: Adam's two moments, and the start for the pull."""
        return 12 if self.pulled else 8

    def states(self, zero_stage: int, processes: int) -> int:
        """Bytes of weights, optimiser and EMA in one process, under a ZeRO stage.

        From stage 1 on the processes share the optimiser's state and a float32 copy of the weights, from stage 3 the
        weights (arXiv 1910.02054), which then are in bf16. Every process holds the whole EMA.
        """
        share = 1 / processes
        optimizer = (self._optimizer_bytes + 4) * share if zero_stage else self._optimizer_bytes
        weights = self.precision * share if zero_stage == 3 else 4
        return int(self.parameters * (optimizer + weights + 4))

    def memory(self, zero_stage: int, processes: int) -> int:
        """Bytes in one process of a CPU: `states`, gradients (shared from ZeRO-2 on), activations, frozen networks."""
        gradients = (4 if zero_stage < 3 else self.precision) / (processes if zero_stage >= 2 else 1)
        rounded = 2 if self.precision == 2 and zero_stage < 3 else 0
        working = self.activations * (1 + CPU_WORKSPACE) + self.frozen
        return int(self.states(zero_stage, processes) + self.parameters * (gradients + rounded) + working)

    def checkpoint_bytes(self, zero_stage: int = 0) -> int:
        """Bytes of one checkpoint on disk: weights (under ZeRO two copies), optimiser state and EMA."""
        return self.parameters * (self._optimizer_bytes + (12 if zero_stage else 8))


@runtime_checkable
class NetworkOfStage(Protocol):
    """What counting the operations of a network asks of a stage: nothing that may follow from them, like its steps."""

    @property
    def config(self) -> RunConfig:
        """The run."""
        ...

    @property
    def scale(self) -> int:
        """Low-res factor of the network's videos."""
        ...

    def network(self) -> Preconditioned:
        """The network before training."""
        ...

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """Inputs as in training, for a video of shape B C T H W."""
        ...


@runtime_checkable
class TrainedStage(NetworkOfStage, Protocol):
    """What the estimate asks of a stage that trains a network."""

    @property
    def num_frames(self) -> int:
        """Frames of the videos that `optimization.micro_batch_size` counts."""
        ...

    @property
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""
        ...


def network_cost(stage: TrainedStage, num_frames: int) -> Cost:
    """The cost of a step of a stage's network at a frame count, for the number of processes of this launch."""
    optimization = stage.optimization
    micro = micro_batch(optimization, stage.num_frames, num_frames)
    kept, flops = training_pass(stage, micro, num_frames, optimization.activation_checkpointing)
    precision = 2 if stage.config.deepspeed.precision == "bf16" else 4
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


def training_pass(stage: NetworkOfStage, batch: int, num_frames: int, recompute: bool = False) -> tuple[int, float]:
    """Bytes that are kept in float32 for the backward pass of a batch, and operations of both passes.

    With `recompute` activations are made twice, to save memory.
    """
    shape = (batch, *video_shape(stage.config, num_frames, stage.scale))
    with torch.device("meta"):
        network = stage.network()
        unet_of(network).recompute_activations(recompute)
        return forward_backward(network, torch.empty(*shape), stage.example_inputs(shape))


def forward_backward(
    network: Preconditioned, x: Float[Tensor, "B C T H W"], inputs: NetworkInputs = NO_INPUTS
) -> tuple[int, float]:
    """Bytes kept for the backward pass, and operations of both passes."""
    own = {p.untyped_storage()._cdata for p in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        """Count a tensor that is kept for the backward pass, unless it is a weight."""
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = tensor
        return tensor

    with _counting() as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            x0_hat = network(x, torch.ones(len(x)), inputs=inputs)
        size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
        x0_hat.square().mean().backward()
    return size, float(counter.get_total_flops())


def _counting() -> "FlopCounterMode":
    """Counts operations while it is open."""
    # Imported here: it loads triton, which a training that counts none needn't wait for.
    from torch.utils.flop_counter import FlopCounterMode

    return FlopCounterMode(display=False)


@torch.no_grad()
def base_flops(config: RunConfig, batch: int, num_frames: int) -> float:
    """Operations of the base's predictions for `batch` videos of full size, if it uses every estimate."""
    with torch.device("meta"):
        views = (view_network(config, view) for view in config.views.values())
        networks = dict(zip(config.plan.scales, views, strict=True))
        x = torch.empty(batch, *video_shape(config, num_frames))
        with _counting() as counter:
            make_estimates(config.plan, all_estimates(config.plan), by_scale(networks), x, torch.ones(batch))
    return float(counter.get_total_flops())


def count_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in network.parameters())


def weight_bytes(config: RunConfig) -> int:
    """Bytes of the view networks, in float32."""
    with torch.device("meta"):
        return 4 * sum(count_parameters(view_network(config, view)) for view in config.views.values())
