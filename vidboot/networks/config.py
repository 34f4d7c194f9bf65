"""Settings of a network's size."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from vidboot.settings import Strict


class NetworkConfig(Strict):
    """Size of a spatiotemporal U-Net (see `vidboot.networks.unet.UNet`)."""

    channels: PositiveInt = 32
    """Channels at the first level, times the level's multiplier at each level."""
    multipliers: Annotated[list[PositiveInt], Field(min_length=1)] = [1, 2, 4]
    """A level for each number, which is how many times `channels` it has; from one level to the next, height and width
    are halved."""
    blocks: PositiveInt = 1
    """Residual blocks of each level, on the way down as on the way up."""
    attention_levels: NonNegativeInt = 1
    """How many of the lowest levels have attention: over space within each frame, over time between the frames."""
    head_channels: PositiveInt = 64
    """Channels of an attention head (with fewer, one head). GPUs are fastest at 64, narrow ones learn more at 16."""
    patch: PositiveInt = 1
    """Pixels along each side of a place of the first level. With 2, a network of the same levels works on a quarter as
    many places: large pictures, and networks of few channels, are learnt in less time."""

    @property
    def down_factor(self) -> int:
        """Pixels along each side of a place of the lowest level: height and width are multiples of it."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))
