"""Words that are burnt in: subtitles, captions by word, titles, lower thirds, tickers, clocks, credits, comments."""

import numpy as np
from numpy.random import Generator

from data_prep.finder_training.drawing import Canvas, Drawer, below, corner, fitted, placed, some_time
from data_prep.finder_training.layers import Layer, times
from data_prep.finder_training.words import Look, colour, digits, ink_of


def subtitle(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """One to three centred lines at the bottom, seldom at the top; sometimes one follows another."""
    height = max(8, int(canvas.height * rng.uniform(0.035, 0.09)))
    font, y, margin = drawer.words.font(rng), float(rng.random() > 0.12), int(canvas.height * rng.uniform(0.01, 0.1))
    seed = int(rng.integers(2**31))
    layers, start = [], int(rng.integers(-canvas.count, canvas.count // 2))
    while start < canvas.count:
        length = int(rng.integers(2, 2 * canvas.count))
        lines = [
            drawer.words.line(rng, font, int(rng.integers(1, 7)))
            for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.43, 0.07])))
        ]
        # Each subtitle of a film has the same style: that of one seed.
        look = fitted(drawer.words.picture(np.random.default_rng(seed), font, lines, height), canvas)
        shown = times(canvas.count, start, start + length, int(rng.choice([0, 0, 1])))
        layers.append(Layer.fixed(look, placed(look, canvas, y, 0.5, (margin, 0)), shown))
        start += length + int(rng.integers(0, 6))
    return layers


def by_word(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """Captions of one or two words that change quickly, large, around the lower middle."""
    height = max(9, int(canvas.height * rng.uniform(0.05, 0.13)))
    font, y, seed = drawer.words.font(rng), rng.uniform(0.4, 0.95), int(rng.integers(2**31))
    every = int(rng.integers(1, 4))
    looks: list[Look] = []
    for _ in range(-(-canvas.count // every)):
        line = drawer.words.line(rng, font, int(rng.choice([1, 2])))
        looks.append(fitted(drawer.words.picture(np.random.default_rng(seed), font, [line], height), canvas))
    looks = [looks[n // every] for n in range(canvas.count)]
    places = np.array([placed(look, canvas, y, 0.5) for look in looks])
    return [Layer(looks, places, np.ones(canvas.count))]


def title(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """Large words in the middle or elsewhere, which fade."""
    height = max(9, int(canvas.height * rng.uniform(0.06, 0.2)))
    look = fitted(
        drawer.text(rng, height, int(rng.integers(1, 4)), int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))), canvas
    )
    shown = some_time(rng, canvas, 0.35)
    return [Layer.fixed(look, placed(look, canvas, *rng.uniform(0.1, 0.9, 2)), shown * rng.uniform(0.6, 1))]


def lower_third(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A name with a line below it, on a bar or without one, at the lower left."""
    height = max(8, int(canvas.height * rng.uniform(0.035, 0.08)))
    upper, lower = drawer.text(rng, height, 2), drawer.text(rng, max(7, int(0.7 * height)), 3)
    look = fitted(below(upper, lower), canvas)
    place = placed(
        look, canvas, rng.uniform(0.75, 1), rng.choice([rng.uniform(0, 0.1), 0.5, 1.0]), (height // 2, height // 2)
    )
    shown = some_time(rng, canvas, 0.5)
    layers = [Layer.fixed(look, place, shown)]
    if rng.random() < 0.5:
        top, left, bottom, right = ink_of(look)
        margin = int(height * rng.uniform(0.2, 0.8))
        wide = canvas.width if rng.random() < 0.3 else right - left + 2 * margin
        bar = bar_of(rng, bottom - top + 2 * margin, wide)
        at = place[0] + top - margin, 0 if wide == canvas.width else place[1] + left - margin
        layers.insert(0, Layer.fixed(bar, at, shown))
    return layers


def bar_of(rng: Generator, height: int, width: int) -> Look:
    """A bar of one or two colours, opaque or not, all of which is burnt in."""
    ground = rng.uniform(0, 255, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0, 255))
    colours = np.broadcast_to(ground.astype(np.float32), (height, width, 3)).copy()
    if rng.random() < 0.3:
        colours[: max(1, height // 8)] = colour(rng)
    if rng.random() < 0.3:
        colours += np.linspace(-50, 50, width, dtype=np.float32)[None, :, None]
    alpha = np.full((height, width), rng.uniform(0.5, 1) if rng.random() < 0.4 else 1.0, np.float32)
    return Look(np.clip(colours, 0, 255), alpha, np.ones((height, width), bool))


def ticker(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A strip on which text runs from right to left."""
    height = max(8, int(canvas.height * rng.uniform(0.035, 0.07)))
    text = drawer.text(rng, height, int(rng.integers(6, 14)), plain=True)
    strip = bar_of(rng, int(1.6 * height), canvas.width)
    y = canvas.height - strip.alpha.shape[0] - int(rng.choice([0, 0.05 * canvas.height, 0.1 * canvas.height]))
    x = canvas.width * rng.uniform(-0.5, 1) - np.arange(canvas.count) * canvas.width * rng.uniform(0.01, 0.1)
    ink = ink_of(text)
    middle = y + (strip.alpha.shape[0] - (ink[2] - ink[0])) // 2 - ink[0]
    places = np.stack([np.full(canvas.count, middle), x], 1).astype(int)
    running = Layer([text] * canvas.count, places, np.ones(canvas.count))
    return [Layer.fixed(strip, (y, 0), np.ones(canvas.count)), running] if rng.random() < 0.8 else [running]


def clock(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A time, a date, a score or a counter, whose digits may change."""
    height = max(7, int(canvas.height * rng.uniform(0.03, 0.08)))
    font, seed = drawer.words.font(rng), int(rng.integers(2**31))
    every = int(rng.choice([1, 4, 5, 1000]))
    looks: list[Look] = []
    for _ in range(-(-canvas.count // every)):
        looks.append(fitted(drawer.words.picture(np.random.default_rng(seed), font, [digits(rng)], height), canvas))
    place = corner(rng, looks[0], canvas)
    return [
        Layer(
            [looks[n // every] for n in range(canvas.count)], np.tile(place, (canvas.count, 1)), np.ones(canvas.count)
        )
    ]


def credits_roll(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """Many lines that move upwards."""
    height = max(7, int(canvas.height * rng.uniform(0.035, 0.07)))
    look = drawer.text(rng, height, 3, int(rng.integers(4, 14)))
    y = canvas.height * rng.uniform(-0.5, 1) - np.arange(canvas.count) * canvas.height * rng.uniform(0.005, 0.1)
    x = placed(look, canvas, 0, rng.choice([0.5, 0.15, 0.85]))[1]
    places = np.stack([y, np.full(canvas.count, x)], 1).astype(int)
    return [Layer([look] * canvas.count, places, np.ones(canvas.count))]


def comments(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """Viewers' comments that fly across the picture."""
    layers = []
    height = max(8, int(canvas.height * rng.uniform(0.04, 0.08)))
    for _ in range(int(rng.integers(2, 10))):
        look = drawer.text(rng, height, int(rng.integers(1, 5)))
        x = canvas.width * rng.uniform(0, 2) - np.arange(canvas.count) * canvas.width * rng.uniform(0.02, 0.12)
        y = placed(look, canvas, rng.uniform(0, 0.7), 0)[0]
        places = np.stack([np.full(canvas.count, y), x], 1).astype(int)
        layers.append(Layer([look] * canvas.count, places, np.full(canvas.count, rng.uniform(0.6, 1))))
    return layers


def panel(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A scoreboard or a sticker: a small panel with text on it."""
    height = max(8, int(canvas.height * rng.uniform(0.035, 0.08)))
    text = fitted(drawer.text(rng, height, int(rng.integers(1, 4)), int(rng.integers(1, 3)), plain=True), canvas)
    top, left, bottom, right = ink_of(text)
    margin = int(height * rng.uniform(0.1, 0.6))
    ground = bar_of(rng, bottom - top + 2 * margin, right - left + 2 * margin)
    place = corner(rng, ground, canvas)
    shown = some_time(rng, canvas, 0.7)
    over = place[0] + margin - top, place[1] + margin - left
    return [Layer.fixed(ground, place, shown), Layer.fixed(text, over, shown)]
