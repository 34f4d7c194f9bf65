"""The inputs of a network besides the noisy video and its noise level."""

from dataclasses import dataclass, fields

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """A network's inputs besides the noisy video and σ, passed as `inputs=`; each may be None.

    Which of them a network understands is decided when it is built (see `vidboot.networks.unet.UNet`).
    """

    observed_mask: Bool[Tensor, "#B 1 T H W"] | Float[Tensor, "#B 1 T H W"] | None = None
    """The share of each pixel that is observed, 0 to 1 or false and true (None: all of it)."""
    context_mask: Bool[Tensor, "#B 1 T H W"] | None = None
    """True where the video has no noise (None: nowhere)."""
    base: Float[Tensor, "B C T H W"] | None = None
    """The base's prediction of x0, an input of the residual network."""
    label: Int[Tensor, "B"] | None = None
    """Class of each item, from 0; the number of classes itself means no class (None: no class for all)."""
    stride: Int[Tensor, "B"] | None = None
    """Frames of the full frame rate from one frame of each item to the next (None: 1)."""

    @property
    def empty(self) -> bool:
        """Whether all inputs are None."""
        return all(getattr(self, f.name) is None for f in fields(self))

    def updated(self, other: "NetworkInputs") -> "NetworkInputs":
        """These inputs, each replaced by that of `other` unless it is None there."""
        given = {f.name: getattr(other, f.name) for f in fields(self) if getattr(other, f.name) is not None}
        return NetworkInputs(**{f.name: getattr(self, f.name) for f in fields(self)} | given)


NO_INPUTS = NetworkInputs()
"""No inputs besides the noisy video and its noise level."""
