"""Training on a DeepSpeed engine."""

import vidboot.distributed  # noqa: F401  before DeepSpeed, which it tells of the accelerator
