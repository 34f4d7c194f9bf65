"""The form of base + residual that a run has taken: what its residual network is, and what it is gated towards.

    D(x; σ) = D_base + γ(σ) (D_θ − D_base)

D_base is the composed base, or the clip network at full length alone (`Calibration.whole`), a single pass.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vidboot.config import ResidualForm
from vidboot.data.files import write_atomic
from vidboot.method.calibration import Calibration
from vidboot.method.edm import Preconditioned
from vidboot.networks.residual import ResidualUNet

FORM_FILE = "form.json"
CANDIDATES = "candidates"
"""Folder of the stage with a folder for each form that was begun."""
FORMS: tuple[ResidualForm, ...] = get_args(ResidualForm)
"""All forms, the cheapest first."""
TRIED: tuple[ResidualForm, ...] = ("clip", "reads_base")
"""Those that are begun where held-out error is to choose. `long_range` is not: it has never been the best, and each
form that is begun takes operations from the one that goes on (see "The form" in docs/method.md)."""
Base = Literal["clip", "composed"]
BASES: tuple[Base, ...] = get_args(Base)
"""What a network may be gated towards, the cheapest first."""
_NETWORKS = {
    "clip": "the clip network, trained on",
    "long_range": "the clip network with long-range layers",
    "reads_base": "the clip network with long-range layers, which reads the base",
}
_GATED = {"clip": "the clip network as it was", "composed": "the composed base"}


def bases_of(network: ResidualForm) -> tuple[Base, ...]:
    """The bases that a form may be gated towards: a network that reads the composed base has it anyway."""
    return ("composed",) if network == "reads_base" else BASES


@dataclass(frozen=True)
class Form:
    """The form of a trained run. Raises `ValueError` for one that there is not."""

    network: ResidualForm
    base: Base
    base_with_context: Base
    """The base of videos with a context."""

    def __post_init__(self) -> None:
        if self.network not in FORMS or not {self.base, self.base_with_context} <= set(bases_of(self.network)):
            raise ValueError(f"no form {self.network}, gated towards {self.base} and {self.base_with_context}")

    @classmethod
    def of(cls, network: Preconditioned, calibration: Calibration, with_context: Calibration) -> "Form":
        """The form of a model's residual network, and of its base's weights without and with context."""
        inner = network.network
        of_network: ResidualForm = "clip"
        if isinstance(inner, ResidualUNet):
            of_network = "long_range" if inner.conv_base is None else "reads_base"
        return cls(of_network, *(base_of(of_network, weights) for weights in (calibration, with_context)))

    def __str__(self) -> str:
        gated = _GATED[self.base]
        if self.base_with_context != self.base:
            gated += f" (with observed pixels: towards {_GATED[self.base_with_context]})"
        return f"{_NETWORKS[self.network]}, gated towards {gated}"


def base_of(network: ResidualForm, weights: Calibration) -> Base:
    """Which base the weights are those of."""
    return "clip" if network != "reads_base" and weights == Calibration.whole(weights.plan) else "composed"


def base_weights(base: Base, composed: Calibration) -> Calibration:
    """The weights of a base; `composed` are those of the composed one."""
    return composed if base == "composed" else Calibration.whole(composed.plan)


def save_form(folder: Path, form: Form, record: list[dict[str, Any]]) -> None:
    """Write the form beside the residual network's weights, with a record of how it was chosen."""
    write_atomic(folder / FORM_FILE, json.dumps(asdict(form) | {"choice": record}, indent=1).encode())


def form_from(stored: dict[str, Any]) -> Form:
    """The form that `save_form` stored."""
    return Form(stored["network"], stored["base"], stored["base_with_context"])
