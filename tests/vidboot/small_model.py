"""A small model with random weights: unlike a fresh one, none of its layers is zero."""

import torch

from vidboot.config import RunConfig
from vidboot.model.video_model import VideoModel, residual_network, view_network
from vidboot.settings import check_settings

NETWORK = {"channels": 8, "multipliers": [1, 2]}
TRAIN = {"steps": 1, "batch_size": 1}
SETTINGS = {
    "run_dir": "run",
    "data": {"manifest": "data"},
    "video": {"num_frames": 12, "height": 8, "width": 8, "overlap": 4},
    "clip": {"num_frames": 4, "overlap": 2, "network": NETWORK, "train": TRAIN},
    "low_res": [{"scale": 2, "network": NETWORK, "train": TRAIN}],
    "residual": {"train": TRAIN},
}


def small_model(**data: object) -> VideoModel:
    """Videos of 12 frames of 8×8 pixels, overlap 4; `data` are settings of the data group."""
    config = check_settings(RunConfig, SETTINGS | {"data": {"manifest": "data"} | data}, "settings")
    torch.manual_seed(0)
    networks = [view_network(config, view) for view in config.views.values()] + [residual_network(config)]
    for network in networks:
        for parameter in network.eval().requires_grad_(False).parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    *views, residual = networks
    return VideoModel(config, dict(zip(config.views, views, strict=True)), residual)
