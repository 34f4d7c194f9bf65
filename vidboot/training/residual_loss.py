"""The loss of the residual network: its distance from the truth, and a little of that from the base's prediction."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import ResidualConfig
from vidboot.method.composition import Network
from vidboot.method.conditioning import Observation
from vidboot.method.edm import add_noise, denoising_loss
from vidboot.model.video_model import VideoModel
from vidboot.training.batch import Batch


def residual_loss(
    model: VideoModel, settings: ResidualConfig, sigma_data: float
) -> Callable[[Network, Batch], Float[Tensor, "B"]]:
    """λ · (‖D_θ − x0‖² + penalty · ‖D_θ − D_base‖²) of each item, with λ and mean as in `denoising_loss`.

    The pull towards the start is part of the optimiser, not of the loss. With `residual.draws` the base predicts each
    draw only once.
    """
    kept: dict[int, Tensor] | None = None if settings.draws is None else {}

    def loss(network: Network, batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item, without a gradient through the base."""
        with torch.no_grad():
            base = _base(model, batch) if kept is None else _kept_base(model, batch, kept)
        x = add_noise(batch.x0, batch.sigma, batch.noise, batch.observed_mask, batch.context_mask)
        x0_hat = network(x, batch.sigma, inputs=replace(batch.inputs, base=base))

        def distance(target: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B"]:
            """Weighted distance of the prediction from a target."""
            masks = batch.observed_mask, batch.loss_mask, batch.context_mask
            return denoising_loss(x0_hat, target, batch.sigma, sigma_data, *masks)

        return distance(batch.x0) + settings.penalty * distance(base)

    return loss


def _base(model: VideoModel, batch: Batch) -> Float[Tensor, "B C T H W"]:
    """The base's predictions; one by one for items with hidden pixels, context or conditions."""
    x = add_noise(batch.x0, batch.sigma, batch.noise, batch.observed_mask)
    context = torch.zeros_like(batch.observed_mask) if batch.context_mask is None else batch.context_mask
    plain = batch.observed_mask.flatten(1).all(1) & ~context.flatten(1).any(1) & (not batch.conditions)
    made = torch.empty_like(x)
    if plain.any():
        made[plain] = model.base(x[plain], batch.sigma[plain])
    for n in (~plain).nonzero().flatten().tolist():
        one = slice(n, n + 1)
        own = model.with_conditions(**{name: int(values[n]) for name, values in batch.conditions.items()})
        own = own.observing(batch.observed_mask[one], Observation.of_pixels(batch.x0[one], context[one]))
        made[one] = own.base(x[one], batch.sigma[one])
    return made


def _kept_base(model: VideoModel, batch: Batch, kept: dict[int, Tensor]) -> Float[Tensor, "B C T H W"]:
    """The base's predictions, from `kept` (by the items' seeds) if they are there already."""
    if any(seed not in kept for seed in batch.seeds):
        kept.update(zip(batch.seeds, _base(model, batch).cpu(), strict=True))
    return torch.stack([kept[seed] for seed in batch.seeds]).to(batch.x0.device)
