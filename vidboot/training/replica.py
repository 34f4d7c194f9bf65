"""Training without ZeRO: every process has the whole network, and gradients are averaged over processes.

DeepSpeed's engine can do that too, but loading it takes as long as loading torch: its communication loads torch's
compiler, and it tries out which of its operators can be built.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from vidboot.distributed import rank, world_size
from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs

STATE_FILE = "state.pt"
_TOGETHER = 2**26
"""Values that are sent at once, about: they are copied for it."""


class Replica:
    """A network and its optimiser, alike in all processes: they start from the first one's weights."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer = module, optimizer
        self._ends_step = True
        if world_size() > 1:
            for weight in module.parameters():
                dist.broadcast(weight.detach(), 0)

    def __call__(
        self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], /, inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise with the network."""
        x0_hat: Tensor = self.module(x, sigma, inputs=inputs)
        return x0_hat

    def train(self) -> None:
        """Set the network to training."""
        self.module.train()

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> None:
        """Say whether the next micro-batch is the step's last."""
        self._ends_step = is_boundary

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Accumulate the gradient; after the step's last micro-batch it is averaged over processes."""
        loss.backward()
        if self._ends_step:
            average_gradients(list(self.module.parameters()))

    def step(self) -> None:
        """Change the weights, after the last micro-batch."""
        if self._ends_step:
            self.optimizer.step()
            self.optimizer.zero_grad()

    def save_checkpoint(self, save_dir: str, /, tag: str, client_state: dict[str, Any], save_latest: bool) -> None:
        """Write the state into the folder `tag` of `save_dir`, from the first process."""
        if rank() == 0:
            folder = Path(save_dir) / tag
            folder.mkdir(exist_ok=True)
            states = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}
            torch.save({**states, "client": client_state}, folder / STATE_FILE)

    def load_checkpoint(self, load_dir: str, /, tag: str) -> tuple[Path, dict[str, Any]]:
        """Restore the state from the folder `tag`; returns the folder and the `client_state` that was saved."""
        folder = Path(load_dir) / tag
        state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        return folder, state["client"]

    def load_universal_checkpoint(self) -> bool:
        """Never: every process reads the whole state, however many there are."""
        return False

    def bfloat16_enabled(self) -> bool:
        """Never: weights stay in float32."""
        return False

    def get_global_grad_norm(self) -> None:
        """None: `TrainStep` has it."""

    def destroy(self) -> None:
        """Nothing is held beside the network and its optimiser."""


@torch.no_grad()
def average_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Make each gradient the mean over processes. A weight without one has zero: in other processes it may have one."""
    found = []
    for weight in weights:
        if weight.requires_grad:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            found.append(weight.grad)
    if world_size() == 1:
        return
    for some in _portions(found):
        sent = torch.cat([gradient.flatten() for gradient in some])
        dist.all_reduce(sent)
        sent /= world_size()
        parts = sent.split([gradient.numel() for gradient in some])
        torch._foreach_copy_(some, [part.view_as(g) for part, g in zip(parts, some, strict=True)])


def _portions(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in order, `_TOGETHER` values or somewhat more at a time."""
    some: list[Tensor] = []
    for tensor in tensors:
        some.append(tensor)
        if sum(t.numel() for t in some) >= _TOGETHER:
            yield some
            some = []
    if some:
        yield some
