"""Moving pictures for the documentation. Run by hand, a minute each (masks: after preprocessing):

python tests/bench/pictures.py repair --output repair.webp                 painted out, beside cv2.inpaint
python tests/bench/pictures.py low-res --output low_res.webp               what is made of a small video
python tests/bench/pictures.py masks --data DATA --output masks.webp       what preprocessing masks, red

The first two use the trained run of `digits_run.py`, and other videos of its ten digits. DATA is a preprocessed folder.
The output is an animated .webp or .gif.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from digits_run import RUN, video
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import vidboot
from vidboot.data.datasets import to_frames, to_tensor
from vidboot.data.files import atomic_path
from vidboot.data.manifest import load_manifest
from vidboot.experiments.digits import subtitle
from vidboot.generation.sampling import REPAIR_DEFAULTS, Sampling, sample, seeded
from vidboot.method.conditioning import Observation
from vidboot.model.video_model import VideoModel

Frames = UInt8[np.ndarray, "T H W C"]
PANEL, MARGIN, HEADING = 128, 8, 20
"""Side of a panel, space between panels, height of a heading; pixels."""
RED, OPACITY = np.array([230, 40, 40]), 0.65
"""How a masked pixel is drawn."""
MASKED_FRAMES, LEAD, EVERY = 28, 12, 2
"""Frames of each masked shot that are shown, how many before the first masked one they begin, and every which one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", choices=("repair", "low-res", "masks"))
    parser.add_argument("--run", type=Path, default=RUN, help="for repair and low-res")
    parser.add_argument("--data", type=Path, help="a preprocessed folder, for masks")
    parser.add_argument("--output", required=True, type=Path, help="an animated .webp or .gif")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="a row of the picture for each")
    parser.add_argument("--factor", type=int, default=2, help="by which low-res videos are smaller")
    parser.add_argument("--fps", type=float, default=12.0)
    a = parser.parse_args()
    if a.picture == "masks":
        save(masked(a.data), a.output, a.fps)
        return
    model = vidboot.load(a.run)
    rows = []
    for seed in a.seeds:
        real = video((9, 0, seed), model.config.video.num_frames)
        rows.append(repaired(model, real, seed) if a.picture == "repair" else followed(model, real, seed, a.factor))
    save(table(rows), a.output, a.fps)


def repaired(model: VideoModel, real: Frames, seed: int) -> dict[str, Frames]:
    """A subtitled video, and what is painted over the subtitle: as `tools/generate.py --repair` does, and by OpenCV."""
    letters, hidden = (halved(area) for area in subtitle(2 * real.shape[1], np.random.default_rng([9, seed])))
    mask = torch.from_numpy(~hidden).expand(1, 1, *real.shape[:3])
    subtitled = np.where(letters[..., None], np.uint8(255), real)
    # Of what is under the mask the model gets nothing.
    given = to_tensor(subtitled)[None]
    made = sample(model, len(real), seeded([seed]), Sampling(**REPAIR_DEFAULTS), Observation.of_pixels(given, mask))
    painted = np.stack([cv2.inpaint(frame, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA) for frame in subtitled])
    rows = {"subtitled": subtitled, "cv2.inpaint": painted, "vidboot --repair": to_frames(made[0]), "original": real}
    for name in ("cv2.inpaint", "vidboot --repair"):
        error = (to_tensor(rows[name]) - to_tensor(real))[..., torch.from_numpy(hidden)].square().mean()
        print(f"seed {seed}: mean square error under the subtitle, {name}: {error:.4f}")
    return rows


def halved(area: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "h w"]:
    """At half the size: every pixel that is touched."""
    return area.reshape(area.shape[0] // 2, 2, -1, 2).any((1, 3))


def followed(model: VideoModel, real: Frames, seed: int, factor: int) -> dict[str, Frames]:
    """A small video, enlarged by interpolation, and what is made of it as `tools/generate.py --low-res` does."""
    low: Float[Tensor, "1 C T h w"] = to_tensor(real)[None]
    low = F.avg_pool3d(low, (1, factor, factor))
    observation = Observation.of_low_resolution(low, factor)
    made = sample(model, len(real), seeded([seed]), Sampling(), observation)
    small = to_frames(low[0])
    size = real.shape[2], real.shape[1]
    smooth = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in small])
    name = f"{small.shape[2]} by {small.shape[1]} pixels"
    return {name: small, "bicubic": smooth, "vidboot --low-res": to_frames(made[0]), "original": real}


def table(rows: Sequence[dict[str, Frames]]) -> Frames:
    """Videos in rows and columns, enlarged, the columns with headings; pixels of low-res videos stay squares."""
    names = list(rows[0])
    lines = [np.concatenate([_panel(row[name]) for name in names], axis=2) for row in rows]
    return np.concatenate([_headings(names, len(lines[0])), *lines], axis=1)


def _panel(frames: Frames) -> Frames:
    kind = cv2.INTER_NEAREST if frames.shape[1] < PANEL // 8 else cv2.INTER_CUBIC
    enlarged = np.stack([cv2.resize(frame, (PANEL, PANEL), interpolation=kind) for frame in frames])
    return np.pad(enlarged, ((0, 0), (0, MARGIN), (0, MARGIN), (0, 0)), constant_values=255)


def _headings(names: Sequence[str], num_frames: int) -> Frames:
    image = Image.new("RGB", (len(names) * (PANEL + MARGIN), HEADING), "white")
    for column, name in enumerate(names):
        ImageDraw.Draw(image).text((column * (PANEL + MARGIN), 2), name, "black", ImageFont.load_default(13))
    return np.repeat(np.asarray(image)[None], num_frames, axis=0)


def masked(data: Path) -> Frames:
    """Frames of each masked shot, in order, as they are and with masked pixels red."""
    parts = []
    for shot in load_manifest(data):
        if shot.mask_path is None:
            continue
        hidden = ~shot.mask(range(shot.num_frames))
        first = max(0, int(np.flatnonzero(hidden.any((1, 2)))[0]) - LEAD)
        numbers = list(range(first, shot.num_frames, EVERY))[:MASKED_FRAMES]
        frames, area = shot.frames(numbers), hidden[numbers][..., None]
        red = np.where(area, (1 - OPACITY) * frames + OPACITY * RED, frames).round().astype(np.uint8)
        parts.append(np.concatenate([frames, red], axis=2))
    return np.concatenate(parts)


def save(frames: Frames, path: Path, fps: float) -> None:
    """Write an animated picture that repeats for ever."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    how = {"quality": 70, "method": 4} if path.suffix == ".webp" else {"optimize": True}
    with atomic_path(path) as partial:
        first.save(partial, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **how)
    print(f"{path}: {len(frames)} frames of {frames.shape[2]}×{frames.shape[1]}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
