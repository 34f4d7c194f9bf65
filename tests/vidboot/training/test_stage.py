import pytest
import torch

from vidboot.edm import Noise
from vidboot.training.stage import _with_noise


def test_samples_with_context_are_noisier_and_all_else_is_as_without():
    masks = torch.ones(40, 1, 2, 4, 4, dtype=torch.bool)
    samples = {
        "frames": torch.randint(0, 256, (40, 2, 4, 4, 3), dtype=torch.uint8),
        "mask": masks,
        "known": masks,
        "seed": torch.arange(40),
        "shot": ["a.mp4"] * 40,
    }
    context = torch.zeros_like(masks)
    context[::2, :, :1] = True
    levels = Noise(p_mean=1.0, p_std=1.5, sigma_max=80.0)
    plain, given = _with_noise(samples, 1, levels), _with_noise(samples | {"context": context}, 1, levels)
    assert torch.equal(given.sigma[1::2], plain.sigma[1::2]) and torch.equal(given.noise, plain.noise)
    assert given.sigma[::2].tolist() == pytest.approx([min(80.0, 4 * sigma) for sigma in plain.sigma[::2].tolist()])
    assert 0 < (given.sigma[::2] == 80).sum() < 20
