"""What is fitted where some pixels are given without noise."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_model import small_model

from vidboot.config import CalibrationConfig, EvaluationConfig
from vidboot.method.calibration import Calibration, Estimate
from vidboot.method.calibration_fit import fit_calibration
from vidboot.method.gate import Gate
from vidboot.method.network_inputs import NO_INPUTS
from vidboot.model.video_model import ContextFit, VideoModel
from vidboot.training import covariances
from vidboot.training.calibration_stage import fit_base
from vidboot.training.context_fit import calibrate_with_context, gate_with_context


class Exact(torch.nn.Module):
    """E[x0 | x, context] where each pixel of a video has one value at all times, normal with standard deviation .4.

    A `strength` other than 1 spoils it, and so does `without_context` where there is no context.
    """

    def __init__(self, strength=1.0, without_context=1.0):
        super().__init__()
        self.strength, self.without_context = strength, without_context
        self.parameter = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, sigma, inputs=NO_INPUTS):
        context, noise = inputs.context_mask, sigma.reshape(-1, 1, 1, 1, 1) ** 2 * torch.ones_like(x)
        if context is not None:
            noise = torch.where(context, 1e-6, noise)
        mean = (x / noise).sum(2, keepdim=True) / ((1 / noise).sum(2, keepdim=True) + 1 / 0.4**2)
        mean = self.strength * mean.expand_as(x)
        return self.without_context * mean if context is None else torch.where(context, x, mean)


def config_of(model):
    return model.config.model_copy(
        update={
            "calibration": CalibrationConfig(num_videos=8, num_draws=16, sigmas=[0.3, 3.0]),
            "evaluation": EvaluationConfig(sigmas=[0.3, 3.0], num_videos=8),
        }
    )


def constant_videos(config, count=8):
    values = 0.4 * torch.randn(count, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return values.expand(-1, -1, config.video.num_frames, -1, -1).clone()


def test_the_base_is_calibrated_anew_with_context():
    """A clip network that is good only with context is the best estimate there, and not elsewhere."""
    config = config_of(small_model())
    model = VideoModel(config, {"clip": Exact(without_context=0.2), "low_res_2": Exact(0.7)})
    videos = constant_videos(config)
    with_context = calibrate_with_context(model, config.calibration, videos, [])
    generator = torch.Generator().manual_seed(0)
    without = fit_calibration(config.plan, model.denoiser_of, videos.split(1), [0.3, 3.0], generator)
    clip, low = Estimate("whole", 1), Estimate("whole", 2)
    assert with_context.at(3.0)[1][clip] > 0.9
    assert without.at(3.0)[1].get(clip, 0.0) < 0.5 < without.at(3.0)[1][low]
    assert calibrate_with_context(model, config.calibration, videos, []) == with_context


def test_the_gate_with_context_opens_for_a_network_that_helps_and_for_no_other():
    model = small_model()
    config = config_of(model)
    counting = Calibration.counting(config.plan)
    for strength, opens in ((1.0, True), (-1.0, False)):
        views = {"clip": Exact(0.5), "low_res_2": Exact(0.5)}
        spoilt = VideoModel(config, views, context_fit=ContextFit(counting))
        gate = gate_with_context(spoilt, Exact(strength), constant_videos(config), []).gate()
        assert isinstance(gate, Gate) and gate.sigmas == (0.3, 3.0)
        assert all(value > 0.9 for value in gate.values) if opens else not any(gate.values)


def test_pixels_of_the_context_do_not_count_for_the_gate(monkeypatch):
    """For a network that is right in the context, which it is given, but wrong elsewhere, the gate stays closed."""
    model = small_model()
    config = config_of(model)
    first_columns = torch.zeros(1, config.video.num_frames, 8, 8, dtype=torch.bool)
    first_columns[..., :3] = True  # the context ends within a low-res block
    monkeypatch.setattr("vidboot.training.context_fit.draw_context", lambda *arguments: first_columns)
    spoilt = VideoModel(config, {"clip": Exact(0.5), "low_res_2": Exact(0.5)})
    assert not any(gate_with_context(spoilt, Exact(-1.0), constant_videos(config), []).gate().values)


NUMBER = threading.local()
"""The number of the process that a thread stands for."""


@pytest.mark.parametrize("context", [False, True])
def test_processes_that_share_the_videos_fit_what_one_process_fits(monkeypatch, context):
    model = small_model()
    config = config_of(model)
    videos, settings = constant_videos(config, 5), config.calibration

    def fit():
        return calibrate_with_context(model, settings, videos, []) if context else fit_base(model, settings, videos, 3)

    alone = fit()
    if not context:
        generator = torch.Generator().manual_seed(3)
        draws = settings.draws(len(videos))
        whole = fit_calibration(
            config.plan, model.denoiser_of, videos.split(1), settings.sigmas, generator, draws=draws
        )
        assert whole == alone
    both = threading.Barrier(2)
    values: list = [None, None]

    def gather(mine):
        values[NUMBER.number] = mine
        both.wait()
        return values

    def process(number):
        NUMBER.number = number
        return fit()

    monkeypatch.setattr(covariances, "share_of", lambda count: range(NUMBER.number, count, 2))
    monkeypatch.setattr(covariances, "gather_over_ranks", gather)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(process, range(2))) == [alone, alone]
    assert [sorted(of_rank) for of_rank in values] == [[0, 2, 4], [1, 3]]
