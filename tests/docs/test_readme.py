"""The README is short, and its example of the method runs as it stands."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_it_is_short() -> None:
    assert len(README.split()) <= 900


def test_the_method_runs_as_it_stands() -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "vidboot.method" in block)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    video = names["video"]
    assert isinstance(video, torch.Tensor)
    assert video.shape == (1, 3, 64, 32, 32)
    assert video.isfinite().all()
    # The example's denoiser is the best one for white noise of variance 1: so are the samples.
    assert abs(video.std().item() - 1) < 0.1
