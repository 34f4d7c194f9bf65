import copy

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.networks import attention as attention_module
from vidboot.networks.attention import TemporalAttention, attention, attention_in_parts
from vidboot.networks.unet import Conditions, TemporalConv, UNet, upsample


def randomised(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """All weights random, the zero-initialised ones too, so that every path matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


SMALL = randomised(UNet(channels=8, multipliers=(1, 2), blocks=2))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_any_number_of_frames_and_any_valid_size(num_frames, rows, columns):
    x = torch.randn(2, 3, num_frames, 2 * rows, 2 * columns)
    assert SMALL(x, torch.zeros(2)).shape == x.shape


@pytest.mark.parametrize("num_frames", [1, 7, 8, 16, 25, 32])  # up to four times the 8 of training
@pytest.mark.parametrize(("height", "width"), [(8, 16), (24, 12)])
def test_a_trained_length_does_not_bind(num_frames, height, width):
    network = UNet(channels=8, multipliers=(1, 2, 2))
    train_at = torch.randn(1, 3, 8, 8, 16)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    network(train_at, torch.zeros(1)).square().mean().backward()
    optimizer.step()
    x = torch.randn(1, 3, num_frames, height, width)
    y = network.eval()(x, torch.zeros(1))
    assert y.shape == x.shape
    assert y.isfinite().all()


@pytest.mark.parametrize(("size", "says"), [((9, 8), "height 9"), ((8, 10), "width 10")])
def test_an_invalid_size_is_refused_with_the_nearest_valid_ones(size, says):
    with pytest.raises(ValueError, match=rf"{says} .* use 8 or 12"):
        UNet(channels=8, multipliers=(1, 1, 1))(torch.zeros(1, 3, 2, *size), torch.zeros(1))


def test_a_patch_is_a_place_with_its_pixels_as_channels():
    patched = randomised(UNet(channels=8, multipliers=(1, 2), patch=2))
    # A plain network of as many channels, whose own two inputs are the last two of the patches'.
    plain = UNet(data_channels=18, channels=8, multipliers=(1, 2)).eval()
    weights = patched.state_dict()
    weights["conv_out.weight"] = torch.cat([weights["conv_out.weight"], torch.zeros(6, 8, 3, 3)])
    weights["conv_out.bias"] = torch.cat([weights["conv_out.bias"], torch.zeros(6)])
    plain.load_state_dict(weights)
    x, c_noise, generator = torch.randn(2, 3, 5, 8, 12), torch.tensor([0.3, -1.0]), torch.Generator().manual_seed(0)
    observed, context = (torch.rand(2, 1, 5, 8, 12, generator=generator) < 0.5 for _ in range(2))
    channels = rearrange(torch.cat([x, observed, context], 1), "b c t (h p) (w q) -> b (c p q) t h w", p=2, q=2)
    of_plain = NetworkInputs(observed_mask=channels[:, 18:19] > 0, context_mask=channels[:, 19:20] > 0)
    expected = rearrange(
        plain(channels[:, :18], c_noise, of_plain)[:, :12], "b (c p q) t h w -> b c t (h p) (w q)", p=2, q=2
    )
    torch.testing.assert_close(
        patched(x, c_noise, NetworkInputs(observed_mask=observed, context_mask=context)), expected
    )
    with pytest.raises(ValueError, match="patches of 2, which needs a multiple of 4: use 8 or 12"):
        patched(x[..., :10], c_noise)


def test_videos_of_a_batch_do_not_mix():
    x, c_noise = torch.randn(3, 3, 5, 4, 4), torch.tensor([-1.0, 0.0, 1.0])
    together = SMALL(x, c_noise)
    alone = torch.cat([SMALL(x[i : i + 1], c_noise[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_frames_reach_each_other_and_noise_level_and_mask_matter():
    x, c_noise = torch.randn(1, 3, 12, 4, 4), torch.zeros(1)
    before = SMALL(x, c_noise)
    changed = x.clone()
    changed[:, :, 0] += 1
    difference = (SMALL(changed, c_noise) - before).abs().amax(dim=(0, 1, 3, 4))
    assert difference.min() > 0  # attention: the last frame notices a change in the first
    assert (SMALL(x, c_noise + 1) - before).abs().max() > 0
    mask = torch.ones(1, 1, 12, 4, 4, dtype=torch.bool)
    torch.testing.assert_close(
        SMALL(x, c_noise, NetworkInputs(observed_mask=mask)), before
    )  # no mask means all observed
    mask[..., 0] = False
    assert (SMALL(x, c_noise, NetworkInputs(observed_mask=mask)) - before).abs().max() > 0


def test_labels_and_strides_start_without_effect_and_then_matter():
    size = {"channels": 8, "multipliers": (1, 2)}
    plain, conditioned = randomised(UNet(**size)), UNet(**size, conditions=Conditions(3, True))
    conditioned.load_state_dict(plain.state_dict(), strict=False)
    x, c_noise = torch.randn(2, 3, 4, 4, 4), torch.zeros(2)
    label, stride = torch.tensor([0, 2]), torch.tensor([1, 4])
    assert torch.equal(conditioned(x, c_noise, NetworkInputs(label=label, stride=stride)), plain(x, c_noise))
    moved = randomised(conditioned)
    assert torch.equal(
        moved(x, c_noise), moved(x, c_noise, NetworkInputs(label=torch.tensor([3, 3]), stride=torch.tensor([1, 1])))
    )
    for conditions in ({"label": label}, {"stride": torch.tensor([2, 4])}):
        assert (moved(x, c_noise, NetworkInputs(**conditions)) - moved(x, c_noise)).abs().amax(
            dim=(1, 2, 3, 4)
        ).min() > 0
    with pytest.raises(ValueError, match="without classes"):
        plain(x, c_noise, NetworkInputs(label=label))
    with pytest.raises(ValueError, match="one frame stride"):
        plain(x, c_noise, NetworkInputs(stride=stride))


def test_a_noise_level_for_each_frame_is_the_items_where_all_are_alike():
    network = randomised(UNet(channels=8, multipliers=(1, 2), conditions=Conditions(3, True)))
    x, c_noise = torch.randn(2, 3, 4, 4, 4), torch.tensor([-0.5, 1.0])
    conditions = {"label": torch.tensor([1, 2]), "stride": torch.tensor([2, 4])}
    for inputs in (NO_INPUTS, NetworkInputs(**conditions)):
        together = network(x, c_noise[:, None].expand(2, 4), inputs)
        torch.testing.assert_close(together, network(x, c_noise, inputs))
    # Features of the frame with another level differ there, before time is mixed.
    frames = network.condition(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), None, None, 4)
    assert torch.equal(frames[0], frames[3]) and not torch.allclose(frames[0], frames[2])


def test_recomputed_activations_give_the_same_gradients():
    original = randomised(UNet(channels=8, multipliers=(1, 2)))

    def gradients(on):
        network = copy.deepcopy(original)
        network.recompute_activations(on)
        network(torch.linspace(-1, 1, 3 * 3 * 16).reshape(1, 3, 3, 4, 4), torch.zeros(1)).square().sum().backward()
        return [p.grad for p in network.parameters()]

    for kept, recomputed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_temporal_convolution_is_a_three_dimensional_one(dilation):
    layer = randomised(TemporalConv(6, dilation))
    reference = torch.nn.Conv3d(6, 6, (3, 1, 1), padding=(dilation, 0, 0), dilation=(dilation, 1, 1))
    with torch.no_grad():
        reference.weight.copy_(layer.conv.weight[..., None])
        reference.bias.copy_(layer.conv.bias)
    x = torch.randn(2, 6, 7, 3, 5)
    frames = x.transpose(1, 2).flatten(0, 1)
    ours = layer(frames, 7).unflatten(0, (2, 7)).transpose(1, 2)
    torch.testing.assert_close(ours, reference(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "head_channels", "heads"), [(256, 64, 4), (96, 64, 1), (16, 64, 1), (192, 64, 3)])
def test_attention_has_heads_of_the_size_asked_for_and_at_least_one(channels, head_channels, heads):
    assert TemporalAttention(channels, head_channels).heads == heads
    network = UNet(channels=channels, multipliers=(1,), head_channels=head_channels)
    assert [m.heads for m in network.modules() if hasattr(m, "heads")] == [heads] * 4  # in space and time, down and up


@pytest.mark.parametrize(("device", "copied"), [("cpu", True), ("cuda", False)])
def test_only_a_cpus_convolutions_get_another_memory_order(device, copied):
    with FakeTensorMode(), torch.device(device):
        network, x = UNet(channels=16, multipliers=(1, 2)), torch.empty(1, 3, 4, 8, 8)
        with Calls() as calls:
            network(x, torch.zeros(1))
    last = [last for name, last in calls.channels_last if name == "aten::convolution"]
    assert len(last) > 10
    assert any(last) == copied


def test_attention_with_bias_is_the_formula():
    q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64)
    bias = torch.randn(4, 5, 5, dtype=torch.float64)
    weights = torch.softmax(q @ k.mT / 8**0.5 + bias, dim=-1)
    torch.testing.assert_close(attention(q, k, v, bias), weights @ v)


def test_relative_positions_do_not_depend_on_where_a_clip_starts():
    bias = TemporalAttention(16, 4).bias(9)
    torch.testing.assert_close(bias[:, 2:7, 2:7], bias[:, :5, :5])
    assert (bias.diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("channels", [1, 6, 20, 37, 50])
def test_any_number_of_channels_builds_a_network_that_runs(channels):
    network = UNet(channels=channels, multipliers=(1, 2))
    assert network(torch.randn(1, 3, 2, 4, 4), torch.zeros(1)).shape == (1, 3, 2, 4, 4)


def test_modules_that_are_given_copies_of_lists_compute_the_same():
    """As ZeRO-3's hooks do: what a module takes off a list is then still on the caller's."""
    network, x = randomised(UNet(channels=8, multipliers=(1, 2), blocks=2)), torch.randn(1, 3, 2, 4, 4)
    expected = network(x, torch.zeros(1))
    for module in network.modules():
        module.register_forward_pre_hook(lambda _, inputs: tuple([*i] if isinstance(i, list) else i for i in inputs))
    assert torch.equal(network(x, torch.zeros(1)), expected)


class Calls(TorchDispatchMode):
    """The names of the operations that run, and whether the first input of each has its channels last in memory."""

    def __init__(self):
        super().__init__()
        self.channels_last = []

    @property
    def names(self):
        return [name for name, _ in self.channels_last]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        frames = torch.is_tensor(args[0]) and args[0].dim() == 4 if args else False
        last = frames and args[0].is_contiguous(memory_format=torch.channels_last)
        self.channels_last.append((func.name(), last))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_upsampling_is_the_same_by_either_way(layout):
    # Whole numbers, so that sums are exact in any order.
    x = torch.randint(-9, 9, (3, 5, 4, 6)).float().contiguous(memory_format=layout)
    gradient = torch.randint(-9, 9, (3, 5, 8, 12)).float()
    results = []
    for most in (2**31, 0):
        leaf = x.clone().requires_grad_()
        y = upsample(leaf, most)
        y.backward(gradient)
        results.append((y, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_upsampling_leaves_the_kernel_that_counts_in_32_bits():
    x = torch.empty(128, 256, 128, 128, dtype=torch.bfloat16, device="meta", requires_grad=True)
    with Calls() as calls:
        y = upsample(x.contiguous(memory_format=torch.channels_last))
        y.backward(torch.empty_like(y))
    assert y.numel() == 2**31
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not [name for name in calls.names if "upsample" in name]


def test_attention_in_parts_is_attention_of_the_whole_batch():
    q, k, v = torch.randn(3, 7, 2, 5, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    outputs = [attention(q, k, v, bias), attention_in_parts(q, k, v, bias, 3)]
    gradients = [torch.autograd.grad(out.square().sum(), (q, bias)) for out in outputs]
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(("items", "calls"), [(65_535, 1), (70_000, 2), (131_071, 3)])
def test_no_kernel_on_cuda_is_given_more_items_than_it_can_count(monkeypatch, items, calls):
    sizes, kernel = [], attention_module.F.scaled_dot_product_attention

    def counted(q, k, v, attn_mask):
        sizes.append(len(q))
        return kernel(q, k, v, attn_mask=attn_mask)

    monkeypatch.setattr(attention_module.F, "scaled_dot_product_attention", counted)
    with FakeTensorMode():
        q = torch.empty(items, 2, 8, 16, device="cuda", dtype=torch.bfloat16)
        assert attention(q, q, q, torch.empty(2, 8, 8, device="cuda")).shape == q.shape
    assert len(sizes) == calls
    assert sum(sizes) == items
    assert max(sizes) <= 65_535


def test_the_bias_is_not_copied_for_each_item(monkeypatch):
    masks, kernel = [], attention_module.F.scaled_dot_product_attention

    def kept(q, k, v, attn_mask):
        masks.append(attn_mask)
        return kernel(q, k, v, attn_mask=attn_mask)

    monkeypatch.setattr(attention_module.F, "scaled_dot_product_attention", kept)
    TemporalAttention(16, 16)(torch.randn(14, 16, 4, 4), 7)
    assert masks[0].shape == (1, 1, 7, 7)
