from dataclasses import replace

import numpy as np
import pytest
import torch
from small_model import small_model

from vidboot.config import NoiseConfig
from vidboot.data.manifest import load_manifest
from vidboot.experiments.digits import write_digits
from vidboot.method.conditioning import Observation
from vidboot.method.network_inputs import NetworkInputs
from vidboot.training.batch import with_noise
from vidboot.training.candidate import Candidate
from vidboot.training.held_out import HeldOut
from vidboot.training.network_training import draw_steps
from vidboot.training.residual_stage import ResidualStage


class NoHeldOut(HeldOut):
    def __init__(self):
        pass

    def evaluate(self, network, bases=None):
        return {}


def stage_and_batches(model, shots, monkeypatch, draws, form="reads_base"):
    """The training of a form, its batches over three rounds of two steps, and how often the base was called in all."""
    train = model.config.residual.train.model_copy(update={"steps": 6, "batch_size": 2})
    residual = model.config.residual.model_copy(update={"train": train, "draws": draws})
    config = model.config.model_copy(update={"residual": residual})
    stage = Candidate(config, residual, form).training(model, shots, shots, NoHeldOut())
    return stage, [micro_batches[0] for micro_batches in draw_steps(stage, 0, 0)]


def test_predictions_of_repeated_draws_are_made_once_and_are_the_same(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    # Without context all items of a batch go through the base together.
    shots, model = load_manifest(tmp_path).shots, small_model(context=0.0)
    called = []
    base = model.base
    monkeypatch.setattr(type(model), "base", lambda self, x, sigma: called.append(len(x)) or base(x, sigma))
    fresh, fresh_batches = stage_and_batches(model, shots, monkeypatch, None)
    kept, batches = stage_and_batches(model, shots, monkeypatch, 4)
    assert [b.seeds for b in batches] == [b.seeds for b in fresh_batches[:2]] * 3
    assert len({seed for b in fresh_batches for seed in b.seeds}) == 12
    expected = [fresh.loss(fresh.network, b).tolist() for b in fresh_batches[:2]]
    called.clear()
    losses = [kept.loss(kept.network, b).tolist() for b in batches]
    assert called == [2, 2]
    np.testing.assert_array_equal(losses, expected * 3)
    assert torch.isfinite(torch.tensor(losses)).all()


def test_the_residual_has_noise_levels_of_its_own(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    model = small_model(context=0.0)  # samples with context are noisier
    residual = model.config.residual.model_copy(update={"p_mean": 2.0, "p_std": 0.01})
    model.config = model.config.model_copy(update={"residual": residual})
    _, batches = stage_and_batches(model, load_manifest(tmp_path).shots, monkeypatch, None)
    sigmas = torch.cat([batch.sigma for batch in batches])
    torch.testing.assert_close(sigmas.log(), torch.full((12,), 2.0), atol=0.05, rtol=0)


def test_a_fifth_of_its_steps_are_on_the_frames_in_which_windows_of_a_longer_video_meet(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    model = small_model(context=0.0)
    stage, _ = stage_and_batches(model, load_manifest(tmp_path).shots, monkeypatch, None)
    lengths = [len(stage.dataset[index]["frames"]) for index in range(0, 1000, 2)]  # one of each step
    assert set(lengths) == {model.config.video.num_frames, model.config.video.overlap}
    assert 0.15 < lengths.count(model.config.video.overlap) / len(lengths) < 0.25  # 0.2 to 2.8 standard deviations
    shares = ResidualStage(model.config, model.config.residual).frame_counts()
    assert shares[model.config.video.overlap] == pytest.approx(0.2)


def test_under_a_mask_the_loss_compares_with_truth_and_base_only_where_there_is_truth(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    model = small_model()
    stage, batches = stage_and_batches(model, load_manifest(tmp_path).shots, monkeypatch, None)
    batch, penalty = batches[0], model.config.residual.penalty
    sigma = batch.sigma
    mask, clean = torch.ones_like(batch.observed_mask), torch.ones_like(batch.observed_mask)
    mask[:, :, 2:6, 4:10, 5:9] = False  # hidden on purpose
    clean[:, :, 2:6, 4:10, 3:5] = False  # burnt in, and filled in
    x0 = torch.where(clean, batch.x0, 0.3)
    loss = stage.loss(stage.network, replace(batch, x0=x0, observed_mask=mask, loss_mask=clean))

    x = torch.where(mask, x0, 0.0) + sigma.reshape(-1, 1, 1, 1, 1) * batch.noise
    base = torch.cat([model.observing(mask[n : n + 1]).base(x[n : n + 1], sigma[n : n + 1]) for n in (0, 1)])
    x0_hat = stage.network(x, sigma, NetworkInputs(observed_mask=mask, base=base))
    squares = (x0_hat - x0) ** 2 + penalty * (x0_hat - base) ** 2
    weights = torch.where(mask, (1 / sigma**2 + 4).reshape(-1, 1, 1, 1, 1), torch.tensor(4.0)) * clean
    expected = (weights * squares).flatten(1).sum(1) / (clean.flatten(1).sum(1) * 3)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_the_base_and_the_residual_are_given_the_context(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    model = small_model(context=0.0)
    stage, batches = stage_and_batches(model, load_manifest(tmp_path).shots, monkeypatch, None)
    batch, penalty = batches[0], model.config.residual.penalty
    x0, sigma = batch.x0, batch.sigma
    context = torch.zeros_like(batch.observed_mask)
    context[0, :, :5] = True  # the second video has none
    loss = stage.loss(stage.network, replace(batch, context_mask=context))

    noisy = x0 + sigma.reshape(-1, 1, 1, 1, 1) * batch.noise
    own = model.observing(batch.observed_mask[:1], Observation.of_pixels(x0[:1], context[:1]))
    base = torch.cat([own.base(noisy[:1], sigma[:1]), model.base(noisy[1:], sigma[1:])])
    x0_hat = stage.network(torch.where(context, x0, noisy), sigma, NetworkInputs(context_mask=context, base=base))
    squares = ((x0_hat - x0) ** 2 + penalty * (x0_hat - base) ** 2) * ~context
    expected = (1 / sigma**2 + 4) * squares.flatten(1).sum(1) / ((~context).flatten(1).sum(1) * 3)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_a_low_res_pixel_is_clean_only_if_all_its_pixels_are():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 1, 4, 8, 8, generator=generator) < 0.8
    clean = mask | (torch.rand(2, 1, 4, 8, 8, generator=generator) < 0.7)
    frames = torch.zeros(2, 4, 8, 8, 3, dtype=torch.uint8)
    samples = {
        "frames": frames,
        "observed_mask": mask,
        "loss_mask": clean,
        "seed": torch.tensor([1, 2]),
        "shot": ["a", "b"],
    }
    batch = with_noise(samples, 2, NoiseConfig())
    observed, clean = (full.unflatten(3, (4, 2)).unflatten(5, (4, 2)).all(6).all(4) for full in (mask, clean))
    assert torch.equal(batch.loss_mask, clean)
    # What a video's own mask hides is filled in: the network observes all but what is hidden on purpose.
    assert torch.equal(batch.observed_mask, observed | ~clean) and (clean & ~batch.observed_mask).any()
