"""What a view's network was made for, beside its shape: what the numbers that it works on mean.

It is kept in the file of the weights, so that a file without its run tells it too.
"""

import json
from collections.abc import Mapping
from typing import Any

from vidboot.config import ClipConfig, LowResConfig, RunConfig

MADE_FOR = "made_for"
"""Key in the metadata of a safetensors file. (One key: safetensors writes several in any order.)"""


def made_for(config: RunConfig, view: ClipConfig | LowResConfig, fps: float) -> dict[str, Any]:
    """By name, all that a view's network depends on and its shapes don't tell, as plain values.

    Colours and their range are not among them: every network gets RGB in [-1, 1].
    """
    scale = view.scale if isinstance(view, LowResConfig) else 1
    return {
        "noise.sigma_data": config.noise.sigma_data,
        "noise.sigma_min": config.noise.sigma_min,
        "noise.sigma_max": config.noise.sigma_max,
        "low-resolution factor": scale,
        "height": config.video.height // scale,
        "width": config.video.width // scale,
        "frames": view.num_frames if isinstance(view, ClipConfig) else config.video.num_frames,
        # Two digits: 23.976 is as good as 24.
        "frames per second": float(f"{fps:.2g}"),
        "data.frame_strides": config.data.frame_strides,
        "data.classes": config.data.classes,
        # A network that never got such pixels has random weights for the input that marks them.
        "pixels without noise (data.context)": config.data.context > 0,
        "network.head_channels": view.network.head_channels,
    }


def read_made_for(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """What a file's metadata say that its weights were made for; None if they don't."""
    try:
        stored = json.loads(metadata[MADE_FOR])
    except (KeyError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What two networks were made for, where it differs, in words."""
    return [
        f"{name} {_text(there.get(name))} there, {_text(value)} here"
        for name, value in here.items()
        if there.get(name) != value
    ]


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
