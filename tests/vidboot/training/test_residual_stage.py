import numpy as np
import torch
from small_model import small_model

from vidboot.data.datasets import Split
from vidboot.data.digits import write_digits
from vidboot.data.manifest import load_manifest
from vidboot.training.residual_stage import residual_stage
from vidboot.training.stage import draw_steps


class NoHeldOut:
    def evaluate(self, network):
        return {}


def stage_and_batches(model, shots, monkeypatch, draws):
    """The stage, its batches over three rounds of two steps, and how often the base was asked in all."""
    train = model.config.residual.train.model_copy(update={"steps": 6, "batch_size": 2})
    residual = model.config.residual.model_copy(update={"train": train, "draws": draws})
    config = model.config.model_copy(update={"residual": residual})
    stage = residual_stage(config, model, Split(shots, (), ()), NoHeldOut())
    return stage, [micro_batches[0] for micro_batches in draw_steps(stage, 0, 0)]


def test_predictions_of_repeated_draws_are_made_once_and_are_the_same(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    shots, model = load_manifest(tmp_path).shots, small_model()
    asked = []
    base = model.base
    monkeypatch.setattr(type(model), "base", lambda self, x, sigma: asked.append(len(x)) or base(x, sigma))
    fresh, fresh_batches = stage_and_batches(model, shots, monkeypatch, None)
    kept, batches = stage_and_batches(model, shots, monkeypatch, 4)
    assert [b.seeds for b in batches] == [b.seeds for b in fresh_batches[:2]] * 3
    assert len({seed for b in fresh_batches for seed in b.seeds}) == 12
    expected = [fresh.loss(fresh.network, b).tolist() for b in fresh_batches[:2]]
    asked.clear()
    losses = [kept.loss(kept.network, b).tolist() for b in batches]
    assert asked == [2, 2]
    np.testing.assert_array_equal(losses, expected * 3)
    assert torch.isfinite(torch.tensor(losses)).all()


def test_the_residual_has_noise_levels_of_its_own(tmp_path, monkeypatch):
    write_digits(tmp_path, full=3, clips=0, low_res=0, num_frames=12, size=16)
    model = small_model()
    residual = model.config.residual.model_copy(update={"p_mean": 2.0, "p_std": 0.01})
    model.config = model.config.model_copy(update={"residual": residual})
    _, batches = stage_and_batches(model, load_manifest(tmp_path).shots, monkeypatch, None)
    sigmas = torch.cat([batch.sigma for batch in batches])
    torch.testing.assert_close(sigmas.log(), torch.full((12,), 2.0), atol=0.05, rtol=0)
