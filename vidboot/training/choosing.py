"""Which form the residual takes: some are begun, and after each rung of a successive halving the better half goes on.

All of it takes no more operations than training one form alone would (`vidboot.method.halving`). What each rung found
is a file in the candidate's folder, and all that is decided follows from these files; so a choice that was stopped goes
on where it was, and comes to the same result.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vidboot.config import ResidualConfig, RunConfig
from vidboot.data.files import write_atomic
from vidboot.data.manifest import Shot
from vidboot.distributed import barrier, gather_over_ranks, rank
from vidboot.method.edm import Preconditioned
from vidboot.method.halving import halve, shares
from vidboot.model.form import CANDIDATES, TRIED
from vidboot.model.run_folder import read_json
from vidboot.model.video_model import VideoModel, frozen
from vidboot.training.candidate import Candidate
from vidboot.training.held_out import HeldOut, Measured
from vidboot.training.loop import train_network
from vidboot.training.network_training import NetworkTraining

logger = logging.getLogger(__name__)


def candidates_of(config: RunConfig, residual: ResidualConfig) -> list[Candidate]:
    """The forms that the settings allow, cheapest first.

    They share the operations that the settings' steps take in the form `reads_base`.
    """
    forms = TRIED if residual.form == "auto" else (residual.form,)
    budget = cache(Candidate(config, residual, "reads_base").budget)
    return [Candidate(config, residual, form, shares(len(forms))[-1], budget) for form in forms]


def folder_of(folder: Path, candidates: Sequence[Candidate], candidate: Candidate) -> Path:
    """Where a candidate trains: the stage's folder, or one for each of several."""
    return folder if len(candidates) == 1 else folder / CANDIDATES / candidate.name


@dataclass(frozen=True)
class Choice:
    """The trained residual network of the form that was chosen."""

    candidate: Candidate
    network: Preconditioned
    measured: Measured
    """The network on the held-out videos, gated towards its best base."""
    record: list[dict[str, Any]]
    """Each rung in plain values: the error of each candidate, and which went on."""


@dataclass(frozen=True)
class Choosing:
    """The trainings of all candidates, beside the frozen base of `model`, in a folder."""

    config: RunConfig
    candidates: Sequence[Candidate]
    model: VideoModel
    shots: Sequence[Shot]
    """Full videos to train on."""
    lenders: Sequence[Shot]
    """Shots whose masks others may get."""
    held_out: HeldOut
    folder: Path
    at_last: Callable[[NetworkTraining], NetworkTraining] = lambda training: training
    """Changes the training of the one that goes on to its end."""

    def run(self) -> Choice:
        """Train the candidates, fewer and fewer, and the last to its end; all processes call it.

        Raises `Interrupted` and `UserError` as `train_network`.
        """
        by_name = {candidate.name: candidate for candidate in self.candidates}
        name, found = halve(list(by_name), lambda name, number, share: self._errors(by_name[name], number, share))
        for rung in found:
            errors = ", ".join(f"{name} {error:.4f}" for name, error in rung.errors.items())
            kept = " and ".join(rung.kept)
            logger.info(
                "residual: with %.0f %% of the operations, held out: %s; on with %s",
                100 * rung.operations,
                errors,
                kept,
            )
        last = by_name[name]
        network = train_network(self.at_last(self._training(last)), self._folder(last), self.config)
        measured = self._measure(last, network)
        return Choice(last, network, measured, [asdict(rung) for rung in found])

    @cached_property
    def _trainings(self) -> dict[str, NetworkTraining]:
        """The trainings; kept, because the loss of one that reads the base keeps its predictions."""
        return {c.name: c.training(self.model, self.shots, self.lenders, self.held_out) for c in self.candidates}

    def _training(self, candidate: Candidate, until: int | None = None) -> NetworkTraining:
        """A candidate's training up to a step; it begins anew, and its checkpoint says how far it was."""
        return replace(self._trainings[candidate.name], network=candidate.start(self.model), until=until)

    def _folder(self, candidate: Candidate) -> Path:
        return folder_of(self.folder, self.candidates, candidate)

    def _measure(self, candidate: Candidate, network: Preconditioned) -> Measured:
        return self.held_out.measure(frozen(network, self.config), candidate.bases)

    def _errors(self, candidate: Candidate, number: int, share: float) -> Float[np.ndarray, "n"]:
        """A candidate's held-out errors after a rung: trained if that isn't done yet, and the same in all processes."""
        path = self._folder(candidate) / f"rung-{number + 1}.json"
        if not gather_over_ranks(path.exists())[0]:
            until = candidate.step_at(share)
            network = train_network(self._training(candidate, until), self._folder(candidate), self.config)
            errors = self._measure(candidate, network).errors.tolist()
            if rank() == 0:
                write_atomic(path, json.dumps({"step": until, "errors": errors}).encode())
            barrier()
        stored = read_json(path, "delete it", lambda stored: stored["errors"]) if rank() == 0 else None
        return np.array(gather_over_ranks(stored)[0])


def plan_of(candidates: Sequence[Candidate]) -> str:
    """The steps of each candidate, in words."""
    if len(candidates) == 1:
        return str(candidates[0].optimization.steps)
    return ", ".join(f"{candidate.name} {candidate.optimization.steps}" for candidate in candidates)
