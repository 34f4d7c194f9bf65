import pytest
import torch
from test_unet import randomised

from vidboot.method.network_inputs import NetworkInputs
from vidboot.networks.residual import ResidualUNet
from vidboot.networks.unet import UNet

SIZE = {"channels": 8, "multipliers": (1, 2)}


def test_warm_started_it_is_the_clip_network_at_full_length_exactly():
    clip = randomised(UNet(**SIZE))
    residual = ResidualUNet(20, **SIZE).eval()
    residual.warm_start(clip)
    x, base, c_noise = torch.randn(2, 3, 20, 4, 4), torch.randn(2, 3, 20, 4, 4), torch.zeros(2)
    assert torch.equal(residual(x, c_noise, NetworkInputs(base=base)), clip(x, c_noise))


def test_everything_it_adds_gets_a_gradient_and_reads_the_base():
    residual = ResidualUNet(20, **SIZE)
    residual.warm_start(randomised(UNet(**SIZE)))
    x, base = torch.randn(1, 3, 20, 4, 4), torch.randn(1, 3, 20, 4, 4)
    residual(x, torch.zeros(1), NetworkInputs(base=base)).square().sum().backward()
    silent = [
        n for n, p in residual.named_parameters() if n.endswith("weight") and "norm" not in n and not p.grad.any()
    ]
    # Behind a zero-initialised output only the output learns at first.
    assert all("long_attention.qkv" in name for name in silent), silent
    moved = randomised(residual)
    assert not torch.equal(
        moved(x, torch.zeros(1), NetworkInputs(base=base)), moved(x, torch.zeros(1), NetworkInputs(base=base + 1))
    )


@pytest.mark.parametrize("num_frames", [1, 2, 5, 16, 33, 128])
def test_the_convolutions_reach_the_training_length(num_frames):
    residual = randomised(ResidualUNet(num_frames, **SIZE))
    assert residual.temporal_reach >= num_frames - 1
    # Measured on the convolutions alone: a change in the first frame arrives in the last.
    # In float64: over 128 frames it comes down to the rounding of float32.
    residual.double()
    h = torch.randn(num_frames, residual.long_attention.norm.num_channels, 2, 2, dtype=torch.float64)
    changed = h.clone()
    changed[0] += 1
    for block in residual.long_range:
        h, changed = block(h, num_frames), block(changed, num_frames)
    assert (h[-1] - changed[-1]).abs().max() > 0


def test_a_clip_network_of_another_size_is_refused():
    with pytest.raises((ValueError, RuntimeError), match=r"other layers|size mismatch"):
        ResidualUNet(8, **SIZE).warm_start(UNet(channels=8, multipliers=(1, 2), blocks=2))
