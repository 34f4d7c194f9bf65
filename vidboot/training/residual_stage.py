"""The stage that trains the residual network on the few full videos, chooses its form, and fits its gate."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidboot.config import OptimizationConfig, ResidualConfig, RunConfig
from vidboot.data.datasets import held_out_spans
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.distributed import device, rank
from vidboot.errors import UserError
from vidboot.method.calibration import CalibratedDenoiser
from vidboot.method.composition import Denoiser
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import Gate
from vidboot.method.halving import best
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.form import BASES, Base, Form, base_weights, save_form
from vidboot.model.run_folder import load_parts, save_gate, save_weights
from vidboot.model.video_model import ContextFit, VideoModel, frozen
from vidboot.training.candidate import Candidate
from vidboot.training.checkpoints import checkpoint_steps
from vidboot.training.choosing import Choice, Choosing, candidates_of, folder_of, plan_of
from vidboot.training.context_fit import gate_with_context
from vidboot.training.estimate import Cost
from vidboot.training.gpu_estimate import Peak
from vidboot.training.held_out import HeldOut
from vidboot.training.shots import supplying
from vidboot.training.stage import NetworkStage, Outline
from vidboot.training.stage_settings import training_settings, view_settings, view_weights

logger = logging.getLogger(__name__)


class ResidualStage(NetworkStage):
    """Training of D_θ, which starts as the clip network, beside the frozen base."""

    name = "residual"

    def __init__(self, config: RunConfig, residual: ResidualConfig) -> None:
        super().__init__(config)
        self.residual = residual
        self.candidates = candidates_of(config, residual)

    @property
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""
        return self.residual.train

    def settings(self) -> dict[str, Any]:
        """All that the residual depends on: settings, and the views' networks."""
        values, shared = self.config.model_dump(mode="json"), training_settings(self.config)
        shared["data"]["max_full_videos"] = values["data"]["max_full_videos"]
        views = {name: view_settings(view) for name, view in self.config.views.items()}
        full = {key: values[key] for key in ("calibration", "residual", "evaluation")}
        return shared | views | full | {"weights": view_weights(self.config)}

    @property
    def trainings(self) -> int:
        """One for each form that is begun."""
        return len(self.candidates)

    @property
    def num_frames(self) -> int:
        """Frames of a full video."""
        return self.config.video.num_frames

    def frame_counts(self) -> dict[int, float]:
        """Share of the steps on each frame count."""
        return self.candidates[-1].frame_counts()

    def trains_on(self, split: Split) -> list[Shot]:
        """The full videos (all frames at full resolution), at most `data.max_full_videos` of them.

        Some may have masked pixels: these are filled in, and the loss leaves them out. Raises `UserError` if there are
        no full videos.
        """
        data, longest = self.config.data, self.config.video.num_frames
        full = supplying(split.train, "full", longest)
        if not full:
            raise UserError(
                f"nothing to train the residual on: no training shot in {data.manifest} is a full video of {longest} "
                "frames. Set residual=null calibration=null to generate from the views alone"
            )
        return sorted(full, key=lambda shot: shot.id)[: data.max_full_videos]

    def check(self, split: Split) -> None:
        """Raise `UserError` for anything that would stop the stage; reads masks, but no video."""
        held_out_spans(split.validation, self.config.video.num_frames, clean=True, most=1)
        super().check(split)

    def network(self) -> Preconditioned:
        """The largest network, before it takes over the clip network's weights."""
        return self.candidates[-1].network()

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """Those of the largest network."""
        return self.candidates[-1].example_inputs(shape)

    def cost(self, num_frames: int | None = None) -> Cost:
        """What a step of the largest network costs (`num_frames` None: at the longest frame count)."""
        return self.candidates[-1].cost(max(self.frame_counts()) if num_frames is None else num_frames)

    def total_flops(self) -> float:
        """Operations of all steps of all forms, with the base's predictions; of repeated draws these are made once."""
        draws, train = self.residual.draws, self.optimization
        reads_base = Candidate(self.config, self.residual, "reads_base")
        predicted = train.steps if draws is None else min(train.steps, draws // train.batch_size)
        costs = [(share, reads_base.cost(n)) for n, share in self.frame_counts().items()]
        return sum(share * (train.steps * cost.flops + predicted * cost.base_flops) for share, cost in costs)

    def gpu_peak(self) -> Peak:
        """Peak memory of a process on a GPU, simulated: of the largest network."""
        return self.candidates[-1].gpu_peak()

    def outline(self, split: Split | None) -> Outline:
        """As of all networks, with the steps of each form."""
        own = super().outline(split)
        steps = f"{plan_of(self.candidates)} × {self.optimization.batch_size}"
        return Outline(own.data, own.parameters, steps, self._remarks())

    def _remarks(self) -> list[str]:
        if len(self.candidates) == 1:
            return []
        return [
            f"{' and '.join(c.name for c in self.candidates)} are begun, and held-out error says which goes on to "
            f"its last step; together they take what {self.optimization.steps} steps of reads_base would"
        ]

    def state(self) -> str:
        """How far the stage has come, in words: also from which checkpoints it goes on."""
        if self.is_finished():
            return "finished"
        folders = {c.name: folder_of(self.folder, self.candidates, c) / "checkpoints" for c in self.candidates}
        begun = {name: steps[-1] for name, folder in folders.items() if (steps := checkpoint_steps(folder))}
        if len(self.candidates) == 1 or not begun:
            return super().state()
        return "goes on from step " + ", ".join(f"{step} of {name}" for name, step in begun.items())

    def choosing(self, model: VideoModel, split: Split, held_out: HeldOut, folder: Path) -> Choosing:
        """The trainings of the forms beside the frozen base of `model`. Raises `UserError` without full videos."""
        return Choosing(self.config, self.candidates, model, self.trains_on(split), split.train, held_out, folder)

    def run(self, split: Split) -> None:
        """Train the network to its stopping point, choose its form and fit its gates; all processes call it."""
        config = self.config
        self.save_settings()
        model = load_parts(config, config.run_dir, residual=False).to(device())
        held_out = HeldOut(config, bases(model.frozen()), split.validation)
        choice = self.choosing(model, split, held_out, self.folder).run()
        form, gate = choice.candidate.form, choice.measured.fit.gate()
        base = base_with_context = _base(choice.measured.base)
        with_context = None
        if config.data.context:
            base_with_context, with_context = self._with_context(model, choice, held_out, split)
        chosen = Form(form, base, base_with_context)
        logger.info("residual: %s", chosen)
        logger.info("gate γ(σ): %s", gate)
        if with_context is not None:
            logger.info("gate γ(σ) with context: %s", with_context)
        if rank() == 0:
            save_gate(self.folder, gate, with_context)
            save_form(self.folder, chosen, choice.record)
            save_weights(self.folder, choice.network)

    def _with_context(self, model: VideoModel, choice: Choice, held_out: HeldOut, split: Split) -> tuple[Base, Gate]:
        """The base of videos with a context, chosen like the other, and the gate towards it."""
        network, composed = frozen(choice.network, self.config), model.context_fit.calibration
        model, fits = model.frozen(), {}
        for base in choice.candidate.bases:
            model.context_fit = ContextFit(base_weights(base, composed))
            fits[base] = gate_with_context(model, network, held_out.videos, split.train)
        chosen = _base(best({base: held_out.weighted(fit.cross_fitted()) for base, fit in fits.items()}))
        return chosen, fits[chosen].gate()


def bases(model: VideoModel) -> dict[str, Denoiser]:
    """The bases of a model that a network may be gated towards, the cheapest first."""
    return {
        base: CalibratedDenoiser(base_weights(base, model.calibration), model.denoiser_of, model.max_batch_frames)
        for base in BASES
    }


def _base(name: str) -> Base:
    return next(base for base in BASES if base == name)
