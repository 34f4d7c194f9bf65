"""What a network can be given besides the noisy video and its noise level."""

from dataclasses import dataclass, fields

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """The other inputs of a network; None is the default of each. A denoiser takes them as `inputs=`.

    Which of them a network understands is decided when it is built (see `vidboot.networks.unet.UNet`).
    """

    observed_mask: Bool[Tensor, "#B 1 T H W"] | Float[Tensor, "#B 1 T H W"] | None = None
    """What share of a pixel is observed, 0 to 1 or false and true (None: all of each)."""
    context_mask: Bool[Tensor, "#B 1 T H W"] | None = None
    """True where the video has no noise (None: nowhere)."""
    base: Float[Tensor, "B C T H W"] | None = None
    """The base's prediction of x0, which the residual network reads."""
    label: Int[Tensor, "B"] | None = None
    """Class of each item; the number of classes stands for no class (None: no class)."""
    stride: Int[Tensor, "B"] | None = None
    """Frames of the full rate from one frame to the next (None: 1)."""

    @property
    def empty(self) -> bool:
        """Whether nothing is given."""
        return all(getattr(self, f.name) is None for f in fields(self))

    def updated(self, other: "NetworkInputs") -> "NetworkInputs":
        """These inputs, replaced by those that `other` has."""
        given = {f.name: getattr(other, f.name) for f in fields(self) if getattr(other, f.name) is not None}
        return NetworkInputs(**{f.name: getattr(self, f.name) for f in fields(self)} | given)


NO_INPUTS = NetworkInputs()
"""The noisy video and its noise level are all that there is."""
