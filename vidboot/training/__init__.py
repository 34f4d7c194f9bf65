"""Training on a DeepSpeed engine."""

import vidboot.distributed  # noqa: F401  before DeepSpeed, for which it sets the accelerator
