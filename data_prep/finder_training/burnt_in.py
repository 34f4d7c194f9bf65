"""What people burn into videos: which kinds there are, and how often each is drawn."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from data_prep.finder_training.captions import (
    by_word,
    clock,
    comments,
    credits_roll,
    lower_third,
    panel,
    subtitle,
    ticker,
    title,
)
from data_prep.finder_training.drawing import Canvas, Drawer
from data_prep.finder_training.layers import Layer
from data_prep.finder_training.marks import bouncing, logo, tiles

KINDS: dict[Callable[[Drawer, Generator, Canvas], list[Layer]], float] = {
    logo: 9.0, subtitle: 4.0, title: 2.0, lower_third: 1.5, clock: 1.0, panel: 1.0, by_word: 1.2, bouncing: 1.2,
    tiles: 0.8, ticker: 0.7, credits_roll: 0.6, comments: 0.6,
}  # fmt: skip
"""Kinds and their weights: logos and subtitles are what most clips carry."""


def burnt_in_layers(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """What is burnt into one scene: a mark, a text, or several things."""
    kinds, weights = list(KINDS), np.array(list(KINDS.values()))
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    picked = rng.choice(len(kinds), count, p=weights / weights.sum())
    return [layer for number in picked for layer in kinds[number](drawer, rng, canvas)]
