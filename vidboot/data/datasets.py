"""Training samples and held-out videos, drawn from the shots of a manifest."""

import logging
import signal
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from vidboot.data.config import DataConfig
from vidboot.data.manifest import Shot
from vidboot.data.masks import box_mask
from vidboot.data.set_aside import SetAside
from vidboot.errors import UserError

logger = logging.getLogger(__name__)


def to_tensor(frames: UInt8[np.ndarray, "T H W C"] | UInt8[Tensor, "*B T H W C"]) -> Float[Tensor, "*B C T H W"]:
    """uint8 frames as float videos in [-1, 1]."""
    return torch.as_tensor(frames).movedim(-1, -4).float() / 127.5 - 1


def to_frames(video_CTHW: Float[Tensor, "C T H W"]) -> UInt8[np.ndarray, "T H W C"]:
    """A float video as uint8 frames; values outside [-1, 1] are clipped."""
    return ((video_CTHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


class Decoded:
    """Decoded shots, each kept in memory from its first use on, while all of them fit into `limit` bytes."""

    def __init__(self, limit: float) -> None:
        self.room = limit
        self.kept: dict[str, UInt8[np.ndarray, "T H W C"]] = {}

    def frames(self, shot: Shot, indices: Sequence[int]) -> UInt8[np.ndarray, "T H W C"]:
        """The same frames as `Shot.frames`."""
        if shot.id not in self.kept:
            if shot.num_frames * shot.height * shot.width * 3 > self.room:
                return shot.frames(indices)
            self.kept[shot.id] = shot.frames()
            self.room -= self.kept[shot.id].nbytes
        return self.kept[shot.id][list(indices)]


def load_clip(
    shot: Shot, frames: Sequence[int], scale: int
) -> tuple[Float[Tensor, "C T h w"], Bool[Tensor, "1 T h w"]]:
    """Frames of a shot, mean-pooled by a low-res factor, in [-1, 1], and their mask (true = observed).

    Raises `VideoError` if the file can't be read.
    """
    return at_scale(to_tensor(shot.frames(frames)), torch.from_numpy(shot.mask(frames))[None], scale)


def at_scale(
    video: Float[Tensor, "*B C T H W"], masks: Bool[Tensor, "*B M T H W"], scale: int
) -> tuple[Float[Tensor, "*B C T h w"], Bool[Tensor, "*B M T h w"]]:
    """Videos mean-pooled by a low-res factor, and M masks of each: a low-res pixel is true if all its pixels are."""
    if scale == 1:
        return video, masks
    return _mean_pool(video, scale), _mean_pool(masks.float(), scale) == 1


def _mean_pool(video: Float[Tensor, "*B C T H W"], scale: int) -> Float[Tensor, "*B C T h w"]:
    images = video.flatten(0, -3)[None]
    return F.avg_pool2d(images, scale)[0].unflatten(0, video.shape[:-2])


class Windows:
    """All windows of `num_frames` frames, `stride` apart, of some shots; with the table that drawing one needs."""

    def __init__(self, shots: Sequence[Shot], num_frames: int, stride: int) -> None:
        self.shots, self.stride = shots, stride
        self.span = (num_frames - 1) * stride + 1
        self._starts = [max(0, s.num_frames - self.span + 1) for s in shots]
        self._ends = np.cumsum(self._starts)

    def draw(self, rng: np.random.Generator) -> tuple[Shot, range]:
        """A window, uniformly from all of them. Raises `UserError` if there is none."""
        if not len(self._ends) or not self._ends[-1]:
            raise UserError(f"no shot has {self.span} frames to train on")
        where = int(rng.integers(self._ends[-1]))
        chosen = int(np.searchsorted(self._ends, where, side="right"))
        start = where - int(self._ends[chosen] - self._starts[chosen])
        return self.shots[chosen], range(start, start + self.span, self.stride)


class LentMasks:
    """The masks of `shots`, for use on other videos. A shot whose mask can't be read is set aside."""

    def __init__(self, shots: Sequence[Shot], set_aside: SetAside) -> None:
        self.shots, self.set_aside = [shot for shot in shots if shot.mask_path is not None], set_aside
        self.windows = Windows(self.shots, 1, 1)

    def draw(self, num_frames: int, rng: np.random.Generator) -> Bool[Tensor, "1 T H W"] | None:
        """The mask of `num_frames` frames from a random one on, in a circle; None if there is no readable mask."""
        if not self.shots:
            return None
        lender, first = self.windows.draw(rng)
        if lender.id in self.set_aside.ids:
            return None
        try:
            frames = [(first.start + t) % lender.num_frames for t in range(num_frames)]
            return torch.from_numpy(lender.mask(frames))[None]
        except UserError as error:
            self.set_aside.add(lender, error)
            return None


def draw_context(shape: Sequence[int], lent: LentMasks, rng: np.random.Generator) -> Bool[Tensor, "1 T H W"]:
    """Which pixels of a video of this `shape` (C T H W) come without noise.

    For half of the videos these are the first frames (at least one, not all), as in a stream. For the others they are
    the pixels that a mask leaves visible, as in a repair: the mask of a masked shot, or else a random rectangle.
    """
    _, num_frames, height, width = shape
    if num_frames > 1 and rng.random() < 0.5:
        context = torch.zeros(*shape, dtype=torch.bool)
        context[:, : int(rng.integers(1, num_frames))] = True
        return context
    mask = lent.draw(num_frames, rng)
    if mask is None or mask.all():
        mask = torch.from_numpy(box_mask(height, width, rng)).expand(*shape)
    return mask


class ViewDataset(Dataset):
    """An endless, stateless stream of training samples of one view: sample `index` is always the same.

    Its number of frames depends on the step (`index // batch_size`) only, so that all samples of a batch have the same.
    `frame_counts` gives the possible numbers with their relative frequencies. `lent` gives the extra masks and sets
    shots aside that can't be read, in whose place others are drawn (None: the masks of `shots`; nothing is listed).
    With a `period` the samples repeat after that many.

    A sample is a dictionary:
    - `frames`: uint8, T H W C (a quarter of the bytes that a loading process would have to pass on as floats),
    - `observed_mask`: 1 T H W, true where the network sees the pixel,
    - `loss_mask`: 1 T H W, true where the video has no mask of its own, though an extra mask may hide the pixel,
    - `shot` and `seed`: the path of its shot, and the seed of its noise,
    - `context_mask`, if `options.context` > 0: 1 T H W, true where no noise is added,
    - `label` and `stride`, if there are classes or several strides: numbers of class and frame stride.
    """

    def __init__(
        self,
        shots: Sequence[Shot],
        frame_counts: Mapping[int, float],
        seed: int,
        batch_size: int,
        options: DataConfig,
        lent: LentMasks | None = None,
        period: int | None = None,
    ) -> None:
        self.shots, self.seed, self.batch_size = list(shots), seed, batch_size
        self.options, self.period = options, period
        self.lent = LentMasks(shots, SetAside(None)) if lent is None else lent
        self.set_aside = self.lent.set_aside
        self.counts = np.array(sorted(frame_counts))
        self.shares = np.array([frame_counts[c] for c in self.counts]) / sum(frame_counts.values())
        self.decoded = Decoded(options.memory_gb * 1e9)
        self.windows: dict[tuple[int, int], Windows] = {}

    def _windows(self, num_frames: int, stride: int) -> Windows:
        if (num_frames, stride) not in self.windows:
            self.windows[num_frames, stride] = Windows(self.shots, num_frames, stride)
        return self.windows[num_frames, stride]

    def __getitem__(self, index: int) -> dict[str, object]:
        index = index if self.period is None else index % self.period
        step_rng = np.random.default_rng([self.seed, 0, index // self.batch_size])
        num_frames = int(step_rng.choice(self.counts, p=self.shares))
        rng = np.random.default_rng([self.seed, 1, index])
        while True:
            stride = int(rng.choice(self.options.frame_strides))
            shot, frames = self._windows(num_frames, stride).draw(rng)
            if shot.id in self.set_aside.ids:
                # Skipped just as when it was first found unreadable: a sample does not depend on earlier ones.
                self._check_any_left((num_frames - 1) * stride + 1)
                continue
            try:
                pixels = torch.from_numpy(self.decoded.frames(shot, frames))
                mask = torch.from_numpy(shot.mask(frames))[None]
            except UserError as error:  # the video or its mask can't be read
                self.set_aside.add(shot, error)
                continue
            masks = {"observed_mask": self._with_extra_mask(mask, rng), "loss_mask": mask}
            if self.options.context:
                some = rng.random() < self.options.context
                context = draw_context(mask.shape, self.lent, rng) if some else torch.zeros_like(mask)
                masks["context_mask"] = masks["observed_mask"] & context
            if self.options.horizontal_flip and rng.random() < 0.5:
                pixels, masks = pixels.flip(-2), {name: m.flip(-1) for name, m in masks.items()}
            sample = {"frames": pixels, **masks, "shot": shot.path}
            return sample | {"seed": int(rng.integers(2**62))} | self._conditions(shot, stride, rng)

    def _check_any_left(self, span: int) -> None:
        if all(s.id in self.set_aside.ids or s.num_frames < span for s in self.shots):
            raise UserError(f"no readable shot of {span} frames is left to train on")

    def _with_extra_mask(self, mask: Bool[Tensor, "1 T H W"], rng: np.random.Generator) -> Bool[Tensor, "1 T H W"]:
        """For a share of the unmasked samples, the mask of another shot (after Ambient Diffusion, arXiv 2305.19256)."""
        if not mask.all() or rng.random() >= self.options.extra_masks:
            return mask
        lent = self.lent.draw(mask.shape[1], rng)
        return mask if lent is None else lent

    def _conditions(self, shot: Shot, stride: int, rng: np.random.Generator) -> dict[str, int]:
        """Number of the class (`len(classes)`: none) and frame stride, for networks that take them."""
        conditions = {"stride": stride} if len(self.options.frame_strides) > 1 else {}
        if classes := self.options.classes:
            label = len(classes) if shot.label not in classes else classes.index(shot.label)
            dropped = label < len(classes) and rng.random() < self.options.label_dropout
            conditions["label"] = len(classes) if dropped else label
        return conditions


def leave_signals_to_parent(worker: int) -> None:
    """Make a loading process ignore Ctrl-C, which reaches it too: the current step still needs its samples."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def held_out_windows(
    shots: Sequence[Shot], num_frames: int, scale: int, limit: int, clean: bool = False
) -> tuple[Float[Tensor, "N C T h w"], Bool[Tensor, "N 1 T h w"]]:
    """At most `limit` windows of `num_frames` frames that don't overlap, spread evenly over the shots, and their masks.

    With `clean`, only windows without a masked pixel. Shots that can't be read are named in the log and left out.
    Raises `UserError` if no shot has such a window.
    """
    loaded = load_windows(held_out_spans(shots, num_frames, clean), scale, limit)
    videos, masks = zip(*(clip for _, clip in loaded), strict=True)
    return torch.stack(videos), torch.stack(masks)


def held_out_spans(
    shots: Sequence[Shot], num_frames: int, clean: bool = False, most: int | None = None
) -> list[tuple[Shot, range]]:
    """All windows among which `held_out_windows` chooses, or the first `most`; reads masks, but no video."""
    every = ((s, range(t, t + num_frames)) for s in shots for t in range(0, s.num_frames - num_frames + 1, num_frames))
    spans = list(islice((one for one in every if not clean or _is_clean(*one)), most))
    if not spans:
        longest = max((s.num_frames for s in shots), default=0)
        raise UserError(
            f"no held-out shot has {num_frames} frames{' without a masked pixel' if clean else ''} (longest: "
            f"{longest}); raise data.holdout or add videos"
        )
    return spans


def load_windows(
    spans: Sequence[tuple[Shot, range]], scale: int, limit: int
) -> list[tuple[Shot, tuple[Float[Tensor, "C T h w"], Bool[Tensor, "1 T h w"]]]]:
    """At most `limit` of the windows, spread evenly: each with its shot, its video and its mask.

    Windows that can't be read are named in the log and left out; raises `UserError` if none is left.
    """
    chosen = [spans[i] for i in np.linspace(0, len(spans) - 1, min(limit, len(spans))).round().astype(int)]
    loaded = [(s, clip) for s, frames in chosen if (clip := _load_or_warn(s, frames, scale)) is not None]
    if not loaded:
        raise UserError("none of the held-out videos can be read: run tools/preprocess.py again")
    return loaded


def _is_clean(shot: Shot, frames: range) -> bool:
    try:
        return shot.mask_path is None or bool(shot.mask(frames).all())
    except UserError as error:
        logger.warning("left out: %s", error)
        return False


def _load_or_warn(shot: Shot, frames: Sequence[int], scale: int) -> tuple[Tensor, Tensor] | None:
    try:
        return load_clip(shot, frames, scale)
    except UserError as error:
        logger.warning("left out: %s", error)
        return None


def mean_image(shots: Sequence[Shot], frames_per_shot: int = 8) -> Float[Tensor, "C 1 H W"]:
    """Mean over evenly spaced frames of the shots: the trivial prediction that every denoiser must beat.

    Shots that can't be read are named in the log and left out; raises `UserError` if none is left.
    """
    frames = [np.linspace(0, shot.num_frames - 1, frames_per_shot).round().astype(int).tolist() for shot in shots]
    loaded = [_load_or_warn(shot, chosen, 1) for shot, chosen in zip(shots, frames, strict=True)]
    means = [clip[0].mean(1) for clip in loaded if clip is not None]
    if not means:
        raise UserError("none of the videos can be read: run tools/preprocess.py again")
    return torch.stack(means).mean(0)[:, None]
