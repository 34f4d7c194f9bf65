"""vidboot: video diffusion from views (Ma 2025, arXiv 2505.11825).

`vidboot.load(run)` gives the trained model of a run folder, `vidboot.generate(model, num_frames)` a video. The method
itself is in `vidboot.method`: read `views`, `regions`, `composition`, `calibration` and `gate` there, in this order.
"""

import importlib
from importlib.metadata import version

__version__ = version("vidboot")
__all__ = [
    "VideoModel",
    "__version__",
    "from_pretrained",
    "generate",
    "load",
    "push_to_hub",
    "save_pretrained",
    "weights_hash",
]

_WHERE = {"VideoModel": "model.video_model", "generate": "generation.sampling", "push_to_hub": "evaluation.publishing"}
_WHERE |= dict.fromkeys(("load", "weights_hash"), "model.run_folder")
_WHERE |= dict.fromkeys(("from_pretrained", "save_pretrained"), "model.hub")


def __getattr__(name: str) -> object:
    """Import a name at its first use: preprocessing needs no torch, and starts faster without it."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"vidboot.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'vidboot' has no attribute '{name}'")
