"""Hard negatives: letters and marks of the scene, which lie in perspective, take its light, and move with it."""

import cv2
import numpy as np
from numpy.random import Generator

from data_prep.finder_training.backgrounds import Scene
from data_prep.finder_training.captions import bar_of
from data_prep.finder_training.drawing import Canvas, Drawer
from data_prep.finder_training.layers import Layer, lay_over
from data_prep.finder_training.words import Look


def with_scene_text(rng: Generator, scene: Scene, drawer: Drawer) -> Scene:
    """The scene with one to three signs, shirts or prints in it."""
    frames = scene.frames.copy()
    count, height, width, _ = frames.shape
    for _ in range(int(rng.integers(1, 4))):
        look = _print(rng, drawer, Canvas(height, width, count))
        lean = _perspective(rng, look, height, width)
        light = cv2.GaussianBlur(frames[0].astype(np.float32).mean(-1), (0, 0), 25) / 128
        share = rng.uniform(0.3, 1)
        blur = rng.uniform(0.4, 1.8)
        opacity = np.full(1, rng.uniform(0.7, 1))
        for frame, motion in zip(frames, scene.motion, strict=True):
            seen = _seen(look, np.vstack([motion, [0, 0, 1]]) @ lean, height, width, blur)
            if seen is not None:
                print_, (top, left) = seen
                lit = light[top : top + print_.alpha.shape[0], left : left + print_.alpha.shape[1], None]
                colours = np.clip(print_.colour * (1 - share + share * lit), 0, 255).astype(np.float32)
                lay_over(frame, Layer.fixed(Look(colours, print_.alpha, print_.area), (top, left), opacity), 0)
    return Scene(frames, scene.motion)


def _seen(look: Look, matrix: np.ndarray, height: int, width: int, blur: float) -> tuple[Look, tuple[int, int]] | None:
    """A print as the camera sees it, and the place of its top left corner; None if it is out of the picture."""
    rows, columns = look.alpha.shape
    corners = np.array([[[0, 0], [columns, 0], [columns, rows], [0, rows]]], np.float32)
    where = cv2.perspectiveTransform(corners, matrix)[0]
    (left, top), (right, bottom) = np.floor(where.min(0)).astype(int) - 4, np.ceil(where.max(0)).astype(int) + 4
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    if right - left < 4 or bottom - top < 4:
        return None
    moved = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ matrix
    size = int(right - left), int(bottom - top)
    alpha = cv2.GaussianBlur(cv2.warpPerspective(look.alpha, moved, size), (0, 0), blur)
    colours = cv2.warpPerspective(look.colour, moved, size, borderMode=cv2.BORDER_REPLICATE)
    return Look(colours, alpha, alpha > 1), (int(top), int(left))


def _print(rng: Generator, drawer: Drawer, canvas: Canvas) -> Look:
    """Letters or a mark, on a panel or bare."""
    if rng.random() < 0.3:
        look = drawer.mark(rng, int(canvas.height * rng.uniform(0.1, 0.4)), plain=True)
    else:
        height = max(10, int(canvas.height * rng.uniform(0.05, 0.2)))
        look = drawer.text(rng, height, int(rng.integers(1, 4)), int(rng.integers(1, 4)), plain=True)
    if rng.random() < 0.5:
        ground = bar_of(rng, *look.alpha.shape)
        share = look.alpha[..., None]
        colours = ground.colour + (look.colour - ground.colour) * share
        look = Look(colours, np.maximum(look.alpha, ground.alpha), ground.area)
    return look


def _perspective(rng: Generator, look: Look, height: int, width: int) -> np.ndarray:
    """A homography that puts a print somewhere into the scene, never upright and undistorted as overlays are."""
    rows, columns = look.alpha.shape
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    turn = np.deg2rad((8 + abs(rng.normal(0, 14))) * rng.choice([-1, 1]))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    placed = (corners - corners.mean(0)) @ rotation.T * [rng.uniform(0.4, 1), rng.uniform(0.5, 1)]
    placed += rng.normal(0, 0.12, (4, 2)) * [columns, rows]
    placed += rng.uniform(0.05, 0.95, 2) * [width, height]
    return cv2.getPerspectiveTransform(corners, placed.astype(np.float32))
