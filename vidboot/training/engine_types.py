"""What training asks of an engine: DeepSpeed's, or `Replica`."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs


@runtime_checkable
class Engine(Protocol):
    """What a step asks of an engine."""

    module: nn.Module
    optimizer: Any

    def __call__(
        self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], /, inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise with the network."""
        ...

    def train(self) -> Any:
        """Set the network to training."""
        ...

    def backward(self, loss: Float[Tensor, ""]) -> Any:
        """Accumulate the gradient."""
        ...

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> Any:
        """Say whether the next micro-batch is the step's last."""
        ...

    def step(self) -> Any:
        """Change the weights, after the last micro-batch."""
        ...


@runtime_checkable
class StoredEngine(Engine, Protocol):
    """What the loop and its checkpoints ask of an engine."""

    def save_checkpoint(self, save_dir: str, /, tag: str, client_state: dict[str, Any], save_latest: bool) -> Any:
        """Write the state into the folder `tag` of `save_dir`; all processes call it."""
        ...

    def load_checkpoint(self, load_dir: str, /, tag: str) -> tuple[Any, Any]:
        """Restore the state from the folder `tag`; returns the folder and the `client_state` that was saved."""
        ...

    def load_universal_checkpoint(self) -> bool:
        """Whether the checkpoint to be loaded is one that was converted from another number of processes."""
        ...

    def bfloat16_enabled(self) -> bool:
        """Whether the engine itself keeps weights in bf16."""
        ...

    def get_global_grad_norm(self) -> Any:
        """Norm of the last gradient; None where the engine has none."""
        ...

    def destroy(self) -> Any:
        """Let go of what the engine holds."""
        ...
