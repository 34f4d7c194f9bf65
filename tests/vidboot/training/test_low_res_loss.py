from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_model import small_model

from vidboot.config import FullLengthConfig
from vidboot.data.manifest import load_manifest
from vidboot.data.split import Split
from vidboot.experiments.digits import write_digits
from vidboot.method.edm import add_noise, loss_weight, squared_error
from vidboot.method.network_inputs import NetworkInputs
from vidboot.method.views import View
from vidboot.training.batch import Batch
from vidboot.training.low_res_loss import view_loss
from vidboot.training.network_training import draw_steps
from vidboot.training.view_stage import ViewStage


def clip_stage(config):
    return ViewStage(config, config.clip)


def training(shots):
    return Split(tuple(shots), (), ())


def a_batch(factor, x0, mask=None, loss_mask=None):
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones_like(x0[:, :1], dtype=torch.bool) if mask is None else mask
    noise = torch.randn(x0.shape, generator=generator)
    loss_mask = mask if loss_mask is None else loss_mask
    return Batch(x0, mask, loss_mask, torch.tensor([0.3, 4.0]), noise, [1, 2], ["a", "b"], low_res_factor=factor)


def videos(seed=0):
    return torch.randn(2, 3, 12, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_of_a_low_res_video_only_its_low_frequencies_count():
    network, x0 = small_model().views["clip"].requires_grad_(True), videos()
    view = View(range(12), 2)
    finer = videos(1)
    other = x0 + finer - view.lift(view.project(finer), 12)  # the same low-res video in other detail
    gradients = []
    for video in (x0, other):
        network.zero_grad()
        view_loss(0.5)(network, a_batch(2, video)).sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_its_loss_is_the_projected_error_of_the_formula():
    network, batch, view = small_model().views["clip"], a_batch(2, videos()), View(range(12), 2)
    lowered = view.lift(view.project(batch.x0), 12)
    share = torch.full_like(batch.x0[:, :1], 0.25)
    x0_hat = network(
        lowered + batch.sigma.view(-1, 1, 1, 1, 1) * batch.noise, batch.sigma, NetworkInputs(observed_mask=share)
    )
    error = view.lift(view.project(x0_hat - batch.x0), 12)
    expected = loss_weight(batch.sigma, 0.5) * error.square().flatten(1).mean(1)
    torch.testing.assert_close(view_loss(0.5)(network, batch), expected, rtol=1e-4, atol=1e-6)


def test_of_clips_the_loss_is_that_of_the_clip_view():
    network, x0 = small_model().views["clip"], videos()
    mask = torch.rand(2, 1, 12, 16, 16, generator=torch.Generator().manual_seed(5)) < 0.8
    batch = a_batch(1, x0, mask)
    x0_hat = network(add_noise(x0, batch.sigma, batch.noise, mask), batch.sigma, NetworkInputs(observed_mask=mask))
    expected = loss_weight(batch.sigma, 0.5) * squared_error(x0_hat, x0, mask)
    torch.testing.assert_close(view_loss(0.5)(network, batch), expected)


@pytest.mark.parametrize("factor", [1, 2])
def test_what_lies_under_a_mask_changes_nothing(factor):
    network, x0 = small_model().views["clip"], videos()
    mask = torch.ones(2, 1, 12, 16, 16, dtype=torch.bool)
    mask[:, :, 3:7, 5:9, 2:11] = False
    hidden = torch.where(mask, x0, torch.full_like(x0, float("nan")))
    plain, damaged = (view_loss(0.5)(network, a_batch(factor, v, mask)) for v in (x0, hidden))
    torch.testing.assert_close(damaged, plain, rtol=0, atol=0)
    # A low-res pixel with one hidden pixel is hidden whole: its other pixels don't matter either.
    beside = x0.clone()
    beside[..., 3:7, 4, 2] += 1.0
    changed = view_loss(0.5)(network, a_batch(factor, beside, mask))
    assert torch.equal(changed, plain) == (factor == 2)


@pytest.mark.parametrize("factor", [1, 2])
def test_what_is_hidden_on_purpose_is_not_an_input_but_part_of_the_loss(factor):
    network, x0 = small_model().views["clip"], videos()
    mask = torch.ones(2, 1, 12, 16, 16, dtype=torch.bool)
    mask[:, :, 3:7, 4:8, 2:10] = False
    everything = torch.ones_like(mask)
    made = []

    def watched(x, sigma, inputs):
        made.append(network(x, sigma, inputs=inputs))
        return made[-1]

    plain = view_loss(0.5)(watched, a_batch(factor, x0, mask))
    complete = view_loss(0.5)(watched, a_batch(factor, x0, mask, everything))
    assert torch.equal(made[0], made[1])  # the network has the same input
    # λ(∞) = 4 for what is hidden (in low frequencies where there are only these); the mean is over all pixels.
    error = (made[0] - x0).unflatten(3, (-1, factor)).unflatten(5, (-1, factor)).mean((4, 6))
    hidden = error[:, :, 3:7, 4 // factor : 8 // factor, 2 // factor : 10 // factor]
    share = 4 * 4 * 8 / (12 * 16 * 16)
    expected = (1 - share) * plain + share * 4 * hidden.square().flatten(1).mean(1)
    torch.testing.assert_close(complete, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_context_is_an_input_without_noise_and_the_rest_part_of_the_loss(factor):
    network, x0 = small_model().views["clip"], videos()
    context = torch.zeros(2, 1, 12, 16, 16, dtype=torch.bool)
    context[:, :, :3] = True
    context[:, :, 5, 4:9, 2:8] = True  # ends within low-res blocks, which are then noisy in a low-res video
    whole = context.clone()
    whole[:, :, 5, 8] &= factor == 1
    inputs_x = []

    def watched(x, sigma, inputs):
        assert torch.equal(inputs.context_mask, whole)
        inputs_x.append(x)
        return network(x, sigma, inputs=inputs)

    batch = replace(a_batch(factor, x0), context_mask=context)
    loss = view_loss(0.5)(watched, batch)
    view = View(range(12), factor)
    lowered = view.lift(view.project(x0), 12)
    noisy = lowered + torch.where(whole, 0.0, batch.sigma.view(-1, 1, 1, 1, 1) * batch.noise)
    torch.testing.assert_close(inputs_x[0], noisy)
    mask = torch.full_like(x0[:, :1], 1 / factor**2)
    x0_hat = network(noisy, batch.sigma, NetworkInputs(observed_mask=mask, context_mask=whole))
    error = view.lift(view.project(x0_hat - x0), 12).square() * ~whole
    mean = error.flatten(1).sum(1) / ((~whole).flatten(1).sum(1) * 3)
    torch.testing.assert_close(loss, loss_weight(batch.sigma, 0.5) * mean, rtol=1e-4, atol=1e-6)


def with_long_videos(config, share, **train):
    train = config.clip.train.model_copy(update=train)
    full_length = FullLengthConfig(share=share, scale=2) if share else None
    return config.model_copy(
        update={"clip": config.clip.model_copy(update={"full_length": full_length, "train": train})}
    )


def test_each_step_is_of_one_kind_and_the_same_whatever_the_order(tmp_path):
    write_digits(tmp_path, full=2, clips=4, low_res=3, num_frames=12, clip_frames=6, size=16)
    config, shots = with_long_videos(small_model().config, 0.3), load_manifest(tmp_path).shots
    stage = clip_stage(config)
    dataset = stage.dataset(training(shots), 7, 4)
    steps = [[dataset[4 * step + item] for item in range(4)] for step in range(100)]
    for samples in steps:
        assert len({(s["low_res_factor"], s["frames"].shape[0]) for s in samples}) == 1
    counts = {factor: {s[0]["frames"].shape[0] for s in steps if s[0]["low_res_factor"] == factor} for factor in (1, 2)}
    assert counts == {1: set(stage.region_frame_counts()), 2: {config.video.num_frames}}
    assert abs(np.mean([samples[0]["low_res_factor"] == 2 for samples in steps]) - 0.3) < 3 * (0.3 * 0.7 / 100) ** 0.5
    again = clip_stage(config).dataset(training(shots), 7, 4)[4 * 41 + 2]
    assert again["seed"] == steps[41][2]["seed"] and torch.equal(again["frames"], steps[41][2]["frames"])


def test_the_clip_network_can_learn_from_long_videos_with_no_low_resolution_network_beside_it(tmp_path):
    write_digits(tmp_path, full=2, clips=4, low_res=3, num_frames=12, clip_frames=6, size=16)
    shots = load_manifest(tmp_path).shots
    both = with_long_videos(small_model().config, 0.5)
    alone = both.model_copy(update={"low_res": []})
    assert list(alone.views) == ["clip"] and clip_stage(alone).settings() == clip_stage(both).settings()
    datasets = [clip_stage(config).dataset(training(shots), 7, 1) for config in (both, alone)]
    samples = [[dataset[step] for step in range(12)] for dataset in datasets]
    assert {sample["low_res_factor"] for sample in samples[0]} == {1, 2}
    for a, b in zip(*samples, strict=True):
        assert (a["low_res_factor"], a["seed"]) == (b["low_res_factor"], b["seed"]) and torch.equal(
            a["frames"], b["frames"]
        )


def test_without_a_share_of_long_videos_the_clip_network_sees_clips_only(tmp_path):
    write_digits(tmp_path, full=2, clips=4, low_res=3, num_frames=12, clip_frames=6, size=16)
    stage = clip_stage(with_long_videos(small_model().config, 0.0))
    dataset = stage.dataset(training(load_manifest(tmp_path).shots), 7, 4)
    assert all("low_res_factor" not in dataset[4 * step] for step in range(20))


def test_the_share_of_each_frame_count_is_what_is_drawn(tmp_path):
    write_digits(tmp_path, full=2, clips=4, low_res=3, num_frames=12, clip_frames=6, size=16)
    config = with_long_videos(small_model().config, 0.3)
    dataset = clip_stage(config).dataset(training(load_manifest(tmp_path).shots), 7, 1)
    drawn = Counter(dataset[step]["frames"].shape[0] for step in range(400))
    shares = clip_stage(config).frame_counts()
    assert sum(shares.values()) == pytest.approx(1.0)
    for count, share in shares.items():
        assert abs(drawn[count] / 400 - share) < 4 * (share * (1 - share) / 400) ** 0.5


def test_its_batches_carry_the_low_res_factor_and_train(tmp_path):
    write_digits(tmp_path, full=2, clips=4, low_res=3, num_frames=12, clip_frames=6, size=16)
    model, shots = small_model(), load_manifest(tmp_path).shots
    config = with_long_videos(model.config, 0.4, steps=40, batch_size=2)
    stage = clip_stage(config).training(Split(shots, shots, shots))
    factors = []
    for (batch,) in draw_steps(stage, 0, 0):
        loss = stage.loss(stage.network, batch)
        assert loss.shape == (2,) and torch.isfinite(loss).all()
        factors.append(batch.low_res_factor)
    assert set(factors) == {1, 2}
