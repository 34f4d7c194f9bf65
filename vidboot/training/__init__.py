"""Training on a DeepSpeed engine."""

import os

import torch

# Said before DeepSpeed is imported, or it searches for an accelerator and warns that there is none.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
