"""The rows of a learning curve: base and base + residual, and their rivals.

Every method has the same operations (see `compute`), the same full videos to learn from, the same held-out ones to
choose stopping point, learning rate and gate by, and the same test videos.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import ResidualForm, RunConfig
from vidboot.data.datasets import held_out_windows
from vidboot.data.split import Split
from vidboot.distributed import device
from vidboot.experiments.learning_curve.compute import Compute, count_operations
from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.experiments.learning_curve.correlation import correlation_errors
from vidboot.experiments.learning_curve.data import CurveData, Shots
from vidboot.experiments.learning_curve.training import (
    GATED,
    UNGATED,
    Best,
    Patience,
    full_video_stage,
    quiet,
    train_best,
    train_quietly,
)
from vidboot.method.calibration import Calibration
from vidboot.method.composition import AveragedWindows, ComposedDenoiser, Denoiser, ResidualDenoiser
from vidboot.method.denoising_error import denoising_errors, edm_weighted
from vidboot.method.edm import Preconditioned
from vidboot.method.regions import region_graph, windows
from vidboot.model.form import FORMS
from vidboot.model.run_folder import load_parts, load_weights, save_weights
from vidboot.model.video_model import VideoModel, view_network
from vidboot.training.calibration_stage import fit_base
from vidboot.training.choosing import Choice, candidates_of
from vidboot.training.held_out import HeldOut
from vidboot.training.network_training import NetworkTraining
from vidboot.training.networks import clip_network
from vidboot.training.residual_stage import ResidualStage, bases
from vidboot.training.view_stage import ViewStage

DIRECT = "direct training"
UNTUNED, FINE_TUNED, FINE_TUNED_GATED = "clip network, untuned", "clip network, fine-tuned", "… fine-tuned, gated"
LIKE_RESIDUAL = "… fine-tuned like the residual, gated"
JOINT = "trained on all data, fine-tuned"
AMBIENT, FORCING, MSM = "Ambient-o", "Diffusion Forcing", "partial scores, averaged (MSM)"
AVERAGED, JOINED = "averaged windows (MultiDiffusion)", "windows − overlaps (DiffCollage)"
COUNTED, BASE, WHOLE = "base, counting numbers", "base, calibrated", "base + residual"
SPECIAL_CASES: dict[ResidualForm, str] = {form: f"base + residual, form {form}" for form in FORMS}
RIVALS = (DIRECT, UNTUNED, FINE_TUNED, FINE_TUNED_GATED, LIKE_RESIDUAL, JOINT, AMBIENT, FORCING, MSM)
"""The methods that the data-efficiency ratio compares with. `LIKE_RESIDUAL` is trained like the residual, but without a
base."""

Rows = dict[str, dict[str, Any]]


class Methods:
    """The methods on one set of data.

    Each returns its rows: error on the test videos (EDM-weighted mean, and at each σ), and how it was chosen.
    """

    def __init__(self, config: CurveConfig, data: CurveData, views: Path, joint: Path) -> None:
        self.config, self.data, self.views, self.joint = config, data, views, joint

    def run(self, seed: int, work: Path) -> RunConfig:
        """The run's settings for one choice of full videos."""
        return self.config.run.model_copy(update={"seed": seed + 1, "run_dir": work})

    @cached_property
    def compute(self) -> Compute:
        """The operations that each method may take."""
        return count_operations(self.config)

    @cached_property
    def model(self) -> VideoModel:
        """The trained views, composed by counting numbers."""
        return load_parts(self.config.run, self.views, calibration=False, residual=False).to(device())

    @cached_property
    def clip(self) -> Preconditioned:
        """The trained clip network."""
        return clip_network(self.model)

    @cached_property
    def test(self) -> Float[Tensor, "N C T H W"]:
        """The test videos, in [-1, 1]."""
        run = self.config.run
        return held_out_windows(self.data.test, run.video.num_frames, 1, self.config.test_videos, clean=True)[0]

    def score(self, denoise: Denoiser, **notes: Any) -> dict[str, Any]:
        """A row: the error on the test videos, and the `notes`."""
        run = self.config.run
        means = denoising_errors(denoise, self.test, run.evaluation.sigmas, device=device()).mean(1).tolist()
        errors = dict(zip(run.evaluation.sigmas, means, strict=True))
        per_sigma = {f"{sigma:g}": error for sigma, error in errors.items()}
        return {"error": edm_weighted(errors, run.noise.sigma_data), "per_sigma": per_sigma, **notes}

    def score_composed(self, denoise: Denoiser, seed: int, **notes: Any) -> dict[str, Any]:
        """The same; for seed 0 also the error of the correlation over time in generated videos."""
        if self.config.samples and seed == 0:
            errors = correlation_errors(denoise, self.config.run, self.config.samples, self.test)
            notes = notes | {"autocorrelation_error": errors}
        return self.score(denoise, **notes)

    def split(self, shots: Shots) -> Split:
        """These shots to train on, and the held-out ones."""
        return Split(shots, self.data.validation, self.data.test)

    def on_partial_data(self, run: RunConfig, steps: int) -> tuple[RunConfig, NetworkTraining]:
        """The training of one network on all partial data, with so many steps, and its run."""
        train = run.clip.train.model_copy(update={"steps": steps})
        run = run.model_copy(update={"clip": run.clip.model_copy(update={"train": train})})
        return run, ViewStage(run, run.clip).training(self.split(self.data.partial))

    def train_joint(self, work: Path) -> None:
        """Train one network on all partial data, into the folder `joint`."""
        run, training = self.on_partial_data(self.run(0, work), self.compute.joint_steps)
        save_weights(self.joint, train_quietly(training, work, run, 1))

    def fixed(self, work: Path) -> Rows:
        """The methods that need no full video."""
        run = self.config.run
        spans = windows(run.video.num_frames, run.clip.num_frames, run.clip.overlap)
        joined = ComposedDenoiser(region_graph(spans), lambda view: self.clip, run.max_batch_frames)
        averaged = AveragedWindows(run.clip.num_frames, run.clip.overlap, self.clip, run.max_batch_frames)
        composed: dict[str, Denoiser] = {AVERAGED: averaged, JOINED: joined}
        if run.low_res:  # without low-res views the counting numbers are those of the windows
            composed[COUNTED] = self.model.base
        return {UNTUNED: self.score(self.clip)} | {name: self.score_composed(d, 0) for name, d in composed.items()}

    def direct(self, count: int, seed: int, work: Path) -> Rows:
        """(a) A network like the clip network, trained on the full videos from nothing."""
        run = self.run(seed, work)
        torch.manual_seed(run.seed)
        network = view_network(run, run.clip).to(device())
        update = {
            "steps": self.compute.direct_steps * self.config.longer,
            "batch_size": self.config.residual.train.batch_size,
        }
        optimization = run.clip.train.model_copy(update=update)
        stage = full_video_stage(run, network, self.data.draw(count, seed), optimization)
        return {DIRECT: self.trained_alone(stage, run, [optimization.learning_rate])}

    def joint_fine_tuned(self, count: int, seed: int, work: Path) -> Rows:
        """(c) The network trained on all partial data, fine-tuned on the full videos."""
        run = self.run(seed, work)
        network = load_weights(self.joint, view_network(run, run.clip)).requires_grad_(True).to(device())
        return {JOINT: self.trained_alone(self.fine_tuning(run, network, count, seed), run)}

    def fine_tuning(self, run: RunConfig, network: Preconditioned, count: int, seed: int) -> NetworkTraining:
        """The training of a network on the full videos, with the operations of the residual."""
        steps = self.compute.fine_tuning_steps * self.config.longer
        optimization = self.config.residual.train.model_copy(update={"steps": steps})
        return full_video_stage(run, network, self.data.draw(count, seed), optimization)

    def trained_alone(
        self, stage: NetworkTraining, run: RunConfig, rates: Sequence[float] | None = None
    ) -> dict[str, Any]:
        """Train, choose stopping point and rate (None: of those of the curve), and score the network alone."""
        held_out = HeldOut(run, {"nothing": lambda x, sigma: torch.zeros_like(x)}, self.data.validation)
        return self._ungated(self._best(stage, held_out, run, rates or self.config.rates), stage.network)

    def fine_tuned(self, count: int, seed: int, work: Path) -> Rows:
        """(b) The clip network at full length, fine-tuned on the full videos: alone, and gated towards the untuned."""
        run = self.run(seed, work)
        network, stage = self._tuned_clip(run, count, seed)
        best = self._best(stage, HeldOut(run, {"clip": self.clip}, self.data.validation), run, self.config.rates)
        return {FINE_TUNED: self._ungated(best, network), FINE_TUNED_GATED: self._gated(best, network)}

    def fine_tuned_like_residual(self, count: int, seed: int, work: Path) -> Rows:
        """The same with the residual's noise levels and its pull towards the start."""
        run = self.run(seed, work)
        network, stage = self._tuned_clip(run, count, seed)
        levels = {"p_mean": self.config.residual.p_mean, "p_std": self.config.residual.p_std}
        stage = replace(stage, noise=run.noise.model_copy(update=levels), pull=self.config.residual.pull)
        best = self._best(stage, HeldOut(run, {"clip": self.clip}, self.data.validation), run, self.config.rates)
        return {LIKE_RESIDUAL: self._gated(best, network)}

    def _tuned_clip(self, run: RunConfig, count: int, seed: int) -> tuple[Preconditioned, NetworkTraining]:
        """A copy of the clip network, and its training on full videos."""
        network = copy.deepcopy(self.clip).requires_grad_(True)
        return network, self.fine_tuning(run, network, count, seed)

    def _best(self, stage: NetworkTraining, held_out: HeldOut, run: RunConfig, rates: Sequence[float]) -> Best:
        """The best weights over these learning rates and the curve's number of stopping points."""
        return train_best(stage, held_out, run, rates, self.config.stopping_points, self.config.longer)

    def _ungated(self, best: Best, network: Preconditioned) -> dict[str, Any]:
        """The row of the best weights alone."""
        return self.score(best.restored(network, UNGATED), **best.notes(UNGATED))

    def _gated(self, best: Best, network: Preconditioned) -> dict[str, Any]:
        """The row of the best weights, gated towards the untuned clip network."""
        gate = best.held_out.measure(best.restored(network, GATED)).fit.gate()
        return self.score(ResidualDenoiser(self.clip, network, gate), **best.notes(GATED), gate=list(gate.values))

    def bootstrapped(self, count: int, seed: int, work: Path) -> Rows:
        """(f, g) The base, calibrated on the full videos, without and with a gated residual trained on them.

        The residual chooses its own form, unless the settings do.
        """
        model = self._base(self.run(seed, work), count, seed)
        return {
            BASE: self.score_composed(model.base, seed),
            WHOLE: self._whole(model, self.config.residual.form, count, seed),
        }

    def special_case(self, form: ResidualForm, count: int, seed: int, work: Path) -> Rows:
        """Base + residual in one of its forms."""
        model = self._base(self.run(seed, work), count, seed)
        return {SPECIAL_CASES[form]: self._whole(model, form, count, seed)}

    def _base(self, run: RunConfig, count: int, seed: int) -> VideoModel:
        """The views, and their base calibrated on the full videos."""
        return VideoModel(run, self.model.views, calibration=self._calibrated(run, count, seed))

    def _whole(self, model: VideoModel, form: Literal["auto", ResidualForm], count: int, seed: int) -> dict[str, Any]:
        """The row of base + residual, with the best of the learning rates."""
        shots, run, of_base = self.data.draw(count, seed), model.config, bases(model)
        split, held_out = self.split(shots), HeldOut(run, of_base, self.data.validation)
        choices = {rate: self._choice(model, form, rate, split, held_out) for rate in self.config.rates}
        rate, choice = min(choices.items(), key=lambda item: item[1].measured.errors.mean())
        gate, base = choice.measured.fit.gate(), choice.measured.base
        chosen = {"form": choice.candidate.form, "base": base, "choice": choice.record}
        notes = {"rate": rate, "validation": float(choice.measured.errors.mean()), "gate": list(gate.values)}
        return self.score_composed(ResidualDenoiser(of_base[base], choice.network, gate), seed, **notes, **chosen)

    def _choice(
        self, model: VideoModel, form: Literal["auto", ResidualForm], rate: float, split: Split, held_out: HeldOut
    ) -> Choice:
        """The residual of a run with this learning rate; all forms together take the budget of the settings."""
        settings, longer, points = self.config.residual, self.config.longer, self.config.stopping_points
        train = settings.train.model_copy(update={"learning_rate": rate, "steps": settings.train.steps * longer})
        draws = None if settings.draws is None else settings.draws * longer
        residual = settings.model_copy(update={"form": form, "train": train, "draws": draws})
        run = model.config.model_copy(update={"residual": residual})
        steps = max(candidate.last_step for candidate in candidates_of(run, residual))
        run = quiet(run, steps, points * longer)
        choosing = ResidualStage(run, residual).choosing(model, split, held_out, run.run_dir / f"rate-{rate:g}")
        last = (lambda training: Patience.of(training, points)) if longer > 1 else choosing.at_last
        return replace(choosing, at_last=last).run()

    def _calibrated(self, run: RunConfig, count: int, seed: int) -> Calibration:
        """The base's weights, fitted on the full videos."""
        settings = self.config.calibration
        limit = min(count, settings.num_videos)
        videos, _ = held_out_windows(self.data.draw(count, seed), run.video.num_frames, 1, limit, clean=True)
        return fit_base(self.model, settings, videos, run.seed, progress=False)
