"""The U-Nets inside a model's networks, which training sets up and starts from."""

from vidboot.config import ResidualForm, RunConfig
from vidboot.method.edm import Preconditioned
from vidboot.model.video_model import VideoModel, residual_network
from vidboot.networks.residual import ResidualUNet
from vidboot.networks.unet import UNet


def unet_of(network: Preconditioned) -> UNet:
    """The U-Net F inside a denoiser. Raises `TypeError` if F is another kind of network."""
    if not isinstance(network.network, UNet):
        raise TypeError(f"training needs a UNet, got {type(network.network).__name__}")
    return network.network


def clip_network(model: VideoModel) -> Preconditioned:
    """The clip network of a model. Raises `TypeError` if it is wrapped, as under conditions."""
    network = model.views["clip"]
    if not isinstance(network, Preconditioned):
        raise TypeError(f"training needs the clip network itself, got {type(network).__name__}")
    return network


def warm_started_residual(config: RunConfig, clip: Preconditioned, form: ResidualForm = "reads_base") -> Preconditioned:
    """The residual network of a form before training: it starts as the clip network."""
    network = residual_network(config, form)
    if isinstance(network.network, ResidualUNet):
        network.network.warm_start(unet_of(clip))
    else:
        network.load_state_dict(clip.state_dict())
    return network
