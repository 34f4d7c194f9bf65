"""Which class a sample is of: the one that is asked for, or one that its seed draws.

p(x) = Σ p(class) p(x | class), so drawing a class first samples what no class would, but sharper: each video has one.
All classes are drawn alike, however frequent they were in training.
"""

from collections.abc import Sequence

import numpy as np

from vidboot.errors import UserError
from vidboot.generation.request import GenerateRequest
from vidboot.model.video_model import VideoModel


def requested_class(request: GenerateRequest, model: VideoModel) -> int | None:
    """Number of the class that the request names. Raises `UserError` if the run has no such class."""
    classes = model.config.data.classes
    if request.class_name is None or request.class_name in classes:
        return None if request.class_name is None else classes.index(request.class_name)
    which = f"its classes: {', '.join(classes)}" if classes else "it was trained without classes"
    raise UserError(f"the run {request.run} has no class '{request.class_name}'; {which}")


def labels_of(model: VideoModel, seeds: Sequence[int], label: int | None, known: bool) -> list[int | None]:
    """The class of each seed's sample: `label`, or else one that the seed draws.

    None is drawn where something is `known` of the video, as that may show any class, and where the model has none.
    """
    count = len(model.config.data.classes)
    if label is not None or known or not count:
        return [label] * len(seeds)
    return [int(np.random.default_rng([seed, count]).integers(count)) for seed in seeds]
