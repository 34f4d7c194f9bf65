"""A finished sample on disk until its video is written: a disk that is full then costs no sampling.

The file's space is reserved before sampling begins, so that the sample itself always has room. It holds the values,
then what they were made from, then one byte that says whether they are complete.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_COMPLETE = b"\x01"


class KeptSample:
    """The file that keeps the sample of one output; `identity` (plain values) is what the sample is made from."""

    def __init__(self, output: Path, shape: tuple[int, ...], identity: dict[str, Any]) -> None:
        # Hidden, as partial files are.
        self.file = output.with_name(f".sampled-{output.name}")
        self.shape, self._bytes = shape, 4 * math.prod(shape)
        self._identity = json.dumps([list(shape), identity], sort_keys=True).encode()

    def load(self) -> Float[Tensor, "B C T H W"] | None:
        """The sample, or None if there is none that is complete and made from the same."""
        try:
            with self.file.open("rb") as file:
                file.seek(self._bytes)
                if file.read() != self._identity + _COMPLETE:
                    return None
                file.seek(0)
                values = np.frombuffer(file.read(self._bytes), np.float32)
        except OSError:  # none
            return None
        return torch.from_numpy(values.reshape(self.shape).copy())

    def reserve(self) -> None:
        """Take the space that the sample needs; raises `OSError` if the disk has too little, and takes none then."""
        try:
            with self.file.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._bytes + len(self._identity) + len(_COMPLETE))
        except OSError:
            self.delete()
            raise

    def save(self, videos: Float[Tensor, "B C T H W"]) -> None:
        """Write the sample into its space; the byte that says that it is complete follows when all else is on disk."""
        with self.file.open("r+b") as file:
            file.write(np.ascontiguousarray(videos.cpu().numpy(), np.float32).data)
            file.write(self._identity)
            file.flush()
            os.fsync(file.fileno())
            file.write(_COMPLETE)

    def delete(self) -> None:
        """Delete the file, if there is one."""
        self.file.unlink(missing_ok=True)
