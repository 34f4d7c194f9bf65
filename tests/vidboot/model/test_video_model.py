from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from vidboot.config import RunConfig
from vidboot.errors import UserError
from vidboot.method.calibration import Calibration, Estimate
from vidboot.method.composition import ComposedDenoiser, by_scale
from vidboot.method.conditioning import Observation
from vidboot.method.gate import Gate
from vidboot.method.long_video import tapered, window_shift
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.form import FORMS, Form, base_weights, bases_of
from vidboot.model.run_folder import load, load_form, save
from vidboot.model.video_model import ContextFit, VideoModel, residual_network, view_network
from vidboot.settings import load_settings


def model_of(tiny_config, *overrides):
    config = load_settings(RunConfig, tiny_config, overrides)
    torch.manual_seed(0)
    networks = {name: view_network(config, view) for name, view in config.views.items()} | {
        "residual": residual_network(config)
    }
    for network in networks.values():
        with torch.no_grad():
            for parameter in network.eval().requires_grad_(False).parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return VideoModel(config, {name: networks[name] for name in config.views}, networks["residual"])


def test_uncalibrated_the_base_is_the_sum_over_regions(tiny_config):
    model = model_of(tiny_config)
    x, sigma = torch.randn(2, 3, 12, 8, 16), torch.tensor([0.5, 3.0])
    denoisers = by_scale({1: model.views["clip"], 2: model.views["low_res_2"]})
    expected = ComposedDenoiser(model.config.plan.regions(12), denoisers)(x, sigma)
    torch.testing.assert_close(model.base(x, sigma), expected, rtol=1e-4, atol=1e-4)


def test_beyond_the_training_length_the_model_is_a_view_of_the_longer_video(tiny_config):
    model = model_of(tiny_config)
    x, sigma = torch.randn(1, 3, 31, 8, 16), torch.tensor([1.0])
    expected = torch.zeros_like(x)
    for view, counts in tapered(31, 12, 4, window_shift(float(sigma), 8)):
        frames = list(view.frames)
        expected[:, :, frames] += torch.tensor(counts)[:, None, None] * model.full(x[:, :, frames], sigma)
    torch.testing.assert_close(model.denoise(x, sigma), expected, rtol=1e-4, atol=1e-4)
    short = x[:, :, :5]
    assert torch.equal(model.denoise(short, sigma), model.full(short, sigma))


def test_max_batch_frames_changes_memory_only(tiny_config):
    x, sigma = torch.randn(2, 3, 20, 8, 16), torch.tensor([0.3, 2.0])
    whole, split = (model_of(tiny_config, f"max_batch_frames={n}").denoise(x, sigma) for n in (512, 12))
    torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-4)


def test_a_given_label_and_stride_reach_every_network(tiny_config):
    model = model_of(tiny_config, "data.classes=[a,b]", "data.frame_strides=[1,2]")
    x, sigma = torch.randn(2, 3, 12, 8, 16), torch.tensor([0.5, 3.0])
    plain = model.full(x, sigma)
    torch.testing.assert_close(model.with_conditions(label=2, stride=1).full(x, sigma), plain)
    for conditions in ({"label": 0}, {"label": 1}, {"stride": 2}):
        given = model.with_conditions(**conditions)
        assert not torch.allclose(given.full(x, sigma), plain, atol=1e-3)
        assert not torch.allclose(given.base(x, sigma), model.base(x, sigma), atol=1e-3)


def test_hidden_pixels_reach_every_view_as_its_mask(tiny_config):
    model = model_of(tiny_config)
    x, sigma = torch.randn(1, 3, 12, 8, 16), torch.tensor([0.7])
    mask = torch.rand(1, 1, 12, 8, 16) < 0.9
    expected = torch.zeros_like(x)
    for region in model.config.plan.regions(12):
        frames, scale = list(region.view.frames), region.view.scale
        network = model.views["clip" if scale == 1 else f"low_res_{scale}"]
        seen = mask[:, :, frames].unfold(3, scale, scale).unfold(4, scale, scale).flatten(5).all(-1)
        small = F.avg_pool2d(x[0][:, frames], scale)[None]
        x0_hat = network(
            small, sigma / scale, NetworkInputs(observed_mask=seen)
        )  # in the low-res network's natural range
        expected[:, :, frames] += region.count * x0_hat.repeat_interleave(scale, 3).repeat_interleave(scale, 4)
    torch.testing.assert_close(model.observing(mask).base(x, sigma), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model.base(x, sigma), expected, atol=1e-3)
    everything = torch.ones_like(mask)
    torch.testing.assert_close(model.observing(everything).base(x, sigma), model.base(x, sigma), rtol=1e-4, atol=1e-4)


def test_observed_pixels_reach_every_view_as_its_context(tiny_config):
    model = model_of(tiny_config)
    x, values, sigma = torch.randn(1, 3, 12, 8, 16), torch.randn(1, 3, 12, 8, 16), torch.tensor([0.7])
    pixels = torch.rand(1, 1, 12, 8, 16) < 0.7
    pixels[:, :, :3], pixels[:, :, 9:] = True, False
    known = Observation.of_pixels(values, pixels)
    base = torch.zeros_like(x)
    for region in model.config.plan.regions(12):
        frames, scale = list(region.view.frames), region.view.scale
        network = model.views["clip" if scale == 1 else f"low_res_{scale}"]
        context = pixels[:, :, frames].unfold(3, scale, scale).unfold(4, scale, scale).flatten(5).all(-1)
        noisy, clean = (F.avg_pool2d(video[0][:, frames], scale)[None] for video in (x, values))
        x0_hat = network(torch.where(context, clean, noisy), sigma / scale, NetworkInputs(context_mask=context))
        base[:, :, frames] += region.count * x0_hat.repeat_interleave(scale, 3).repeat_interleave(scale, 4)
    torch.testing.assert_close(
        model.observing(torch.ones_like(pixels), known).base(x, sigma), base, rtol=1e-4, atol=1e-4
    )
    model.context_fit = ContextFit(model.calibration, Gate((1.0,), (0.3,)))
    network = model.residual(torch.where(pixels, values, x), sigma, NetworkInputs(base=base, context_mask=pixels))
    for residual, full in ((model.residual, torch.lerp(base, network, 0.3)), (None, base)):
        model.residual = residual
        denoised = model.conditioned_on(known)(x.expand(2, -1, -1, -1, -1), sigma.expand(2))
        for item in denoised:  # a batch of the same video
            torch.testing.assert_close(torch.where(pixels, 0, item), torch.where(pixels, 0, full), rtol=1e-4, atol=1e-4)
            assert torch.equal(torch.where(pixels, item, 0), known.values)


def test_regions_without_context_still_share_a_batch(tiny_config):
    model, sizes = model_of(tiny_config, "residual=null"), []
    clip = model.views["clip"]
    clip.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[::2])))
    x, sigma = torch.randn(1, 3, 12, 8, 16), torch.tensor([0.7])
    model.conditioned_on(Observation.of_first_frames(x[:, :, :2], 12))(x, sigma)
    regions = [r.view.frames for r in model.config.plan.regions(12) if r.view.scale == 1]
    with_context = [len(frames) for frames in regions if frames[0] < 2]
    without = Counter(len(frames) for frames in regions if frames[0] >= 2)
    expected = [(1, n, 16) for n in with_context] + [(count, n, 16) for n, count in without.items()]
    assert sorted(sizes) == sorted(expected)


def test_beyond_the_training_length_each_window_has_its_part_of_the_observation(tiny_config):
    model = model_of(tiny_config)
    x, sigma = torch.randn(1, 3, 31, 8, 16), torch.tensor([1.0])
    known = Observation.of_first_frames(torch.randn(1, 3, 10, 8, 16), 31)
    expected = torch.zeros_like(x)
    for view, counts in tapered(31, 12, 4, window_shift(float(sigma), 8)):
        frames = list(view.frames)
        here = known.frames(frames[0], frames[-1] + 1)
        denoise = model.conditioned_on(here) if frames[0] < 10 else model.full
        expected[:, :, frames] += torch.tensor(counts)[:, None, None] * denoise(x[:, :, frames], sigma)
    torch.testing.assert_close(model.conditioned_on(known)(x, sigma), expected, rtol=1e-4, atol=1e-4)


def test_videos_with_context_have_their_own_calibration_and_gate(tiny_config, tmp_path):
    model = model_of(tiny_config)
    x, sigma = torch.randn(1, 3, 12, 8, 16), torch.tensor([3.0])
    nothing, first = torch.zeros(1, 1, 12, 8, 16, dtype=torch.bool), torch.zeros(1, 1, 12, 8, 16, dtype=torch.bool)
    first[:, :, :4] = True
    whole = Calibration(model.config.plan, (1.0,), (({Estimate("whole", 1): 1.0},) * 2,))
    apart = VideoModel(
        model.config, model.views, model.residual, context_fit=ContextFit(whole, Gate((1.0, 2.0), (0.0, 0.0)))
    )
    for context, same in ((nothing, True), (first, False)):
        known = Observation.of_pixels(x, context)
        both = [one.observing(~nothing, known).full(x, sigma) for one in (model, apart)]
        assert torch.allclose(*both) == same
    # The gate is closed and the base is the clip network at full length.
    expected = model.views["clip"](x, sigma, NetworkInputs(context_mask=first))
    torch.testing.assert_close(both[1], expected, rtol=1e-4, atol=1e-4)
    save(apart, tmp_path)
    again = load(tmp_path)
    assert (
        again.context_fit == apart.context_fit and again.calibration == apart.calibration and again.gate == apart.gate
    )
    torch.testing.assert_close(again.observing(~nothing, known).full(x, sigma), both[1])


FORMS_AND_BASES = [(form, base) for form in FORMS for base in bases_of(form)]


@pytest.mark.parametrize("form, base", FORMS_AND_BASES)
def test_a_run_of_each_form_denoises_as_its_closed_composition(tiny_config, form, base):
    """What a stored and loaded run generates by, against the networks put together by hand."""
    model = model_of(tiny_config)
    composed = model.calibration
    torch.manual_seed(1)
    network = residual_network(model.config, form)
    with torch.no_grad():
        for parameter in network.eval().requires_grad_(False).parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    gate = Gate((0.5, 3.0), (0.4, 0.8))
    weights = base_weights(base, composed)
    run = VideoModel(model.config, model.views, network, gate, weights, context_fit=ContextFit(weights, gate))
    folder = model.config.run_dir
    save(run, folder)
    loaded = load(folder)
    assert str(load_form(folder)) == str(Form(form, base, base))

    x, sigma = torch.randn(2, 3, 12, 8, 16), torch.tensor([0.5, 3.0])
    denoisers = by_scale({1: model.views["clip"], 2: model.views["low_res_2"]})
    of_base = {
        "clip": model.views["clip"](x, sigma),
        "composed": ComposedDenoiser(model.config.plan.regions(12), denoisers)(x, sigma),
    }[base]
    inputs = NetworkInputs(base=of_base) if form == "reads_base" else NetworkInputs()
    expected = of_base + torch.tensor([0.4, 0.8])[:, None, None, None, None] * (network(x, sigma, inputs) - of_base)
    torch.testing.assert_close(loaded.full(x, sigma), expected, rtol=1e-4, atol=1e-4)
    long, level = torch.randn(1, 3, 31, 8, 16), torch.tensor([1.0])
    torch.testing.assert_close(loaded.denoise(long, level), run.denoise(long, level), rtol=0, atol=0)


@pytest.mark.parametrize("stored", ["{}", '{"network": "reads_base", "base": "clip", "base_with_context": "clip"}'])
def test_a_form_that_there_is_not_is_refused(tiny_config, stored):
    model = model_of(tiny_config)
    save(model, model.config.run_dir)
    (model.config.run_dir / "residual" / "form.json").write_text(stored)
    with pytest.raises(UserError, match=r"form\.json is damaged .* run tools/train.py --stage residual"):
        load(model.config.run_dir)
