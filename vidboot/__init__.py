"""vidboot: video diffusion from views (Ma 2025, arXiv 2505.11825).

`vidboot.load(run)` gives the trained model of a run folder. Read `vidboot.views`, `regions`, `score`, `calibration`,
`gate` and `model`, in this order, for the method.
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

_WHERE = {"VideoModel": "model", "generate": "generation"} | dict.fromkeys(("load", "weights_hash"), "run_folder")
_WHERE |= dict.fromkeys(("from_pretrained", "push_to_hub", "save_pretrained"), "hub")


def __getattr__(name: str) -> object:
    """Import what is asked for only then: preprocessing needs no torch, and starts faster without it."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"vidboot.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'vidboot' has no attribute '{name}'")
