"""From a trained run to a file: what `tools/generate.py` does."""

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import vidboot
from vidboot.data.files import write_atomic
from vidboot.errors import UserError
from vidboot.generation.inputs import KnownFiles
from vidboot.generation.sampling import Sampling, sample, seeded
from vidboot.generation.streaming import StreamState, stream
from vidboot.generation.writers import PNG_FOLDER, check_fps, check_path, grid, open_output
from vidboot.model.video_model import VideoModel


@dataclass(frozen=True)
class Request:
    """What to make, from what, into which file."""

    run: Path
    output: Path
    frames: int | None
    """None: as many as the low-resolution or damaged video has."""
    seeds: tuple[int, ...]
    """One sample for each; several are shown side by side."""
    sampling: Sampling
    fps: float | None = None
    """None: that of what is repaired, enlarged or continued, else that of the training videos."""
    streaming: bool = False
    lossless: bool = False
    max_batch_frames: int | None = None
    """None: as in training."""
    class_name: str | None = None
    init: Path | None = None
    low_res: Path | None = None
    repair: Path | None = None


def check_output(path: Path, streaming: bool = False) -> None:
    """Raises `UserError` if `path` can't be an output, or its record would replace another file. Makes nothing."""
    if path.name in ("", ".."):
        raise UserError(f"--output {path} is no name for a file or folder to make")
    state_file, record = _state_file(path), path.with_suffix(".json")
    try:
        check_path(path, named=streaming and state_file.exists() and not (state_file.parent / PNG_FOLDER).exists())
        if record.exists() and (replaced := _describes(record, path)) is not None:
            raise UserError(f"{record} {replaced} and would be replaced; choose another --output")
    except OSError as error:
        raise UserError(f"can't write to {path}: {error.strerror}") from None


def _describes(record: Path, output: Path) -> str | None:
    """What a file holds, in words, if it is not the record of this output or of one that has gone."""
    try:
        stored = json.loads(record.read_text())
    except (OSError, ValueError):
        stored = None
    if not isinstance(stored, dict) or not {"weights", "seeds", "command", "output"} <= stored.keys():
        return "is no record of a generated video"
    other = record.with_name(Path(stored["output"]).name)
    return f"is the record of {other}" if other.name != output.name and other.exists() else None


def make_folder(path: Path, streaming: bool = False) -> None:
    """Make the folder of `path`, and try all names that are going to be there; raises `UserError` if one can't be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for final in (path, path.with_suffix(".json")):
            probe = final.with_name(f".partial-{os.getpid()}-{final.name}")  # as `atomic_path` names it
            probe.touch()
            probe.unlink()
        if streaming:
            _state_file(path).parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to {error.filename}: {error.strerror}; choose another --output") from None


def render(request: Request) -> dict[str, Any]:
    """Sample, write the output and, beside it, the record of what is needed to make it again; returns the record.

    Raises `UserError` for whatever the user can mend, before sampling starts.
    """
    check_output(request.output, request.streaming)
    for option in ("init", "low_res", "repair"):
        given = getattr(request, option)
        if given is not None and given.resolve() == request.output.resolve():
            raise UserError(
                f"--output {request.output} is the file of --{option.replace('_', '-')} too; choose another"
            )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = vidboot.load(request.run, device)
    model.max_batch_frames = request.max_batch_frames or model.max_batch_frames
    sampling = replace(request.sampling, label=_label(request, model))
    video = model.config.video
    known = KnownFiles(video.height, video.width, request.init, request.low_res, request.repair)
    longest = known.check()
    frames = request.frames or longest
    if frames is None:
        raise UserError("give --frames: how many frames to make")
    record = _record(request, model, known, frames, device)
    check_fps(request.output, record["fps"])
    make_folder(request.output, request.streaming)
    make = _stream if request.streaming else _joint
    with _enough_memory(frames, request.streaming):
        make(replace(request, sampling=sampling), model, known, record)
    write_atomic(request.output.with_suffix(".json"), (json.dumps(record, indent=2) + "\n").encode())
    if request.streaming:
        # Until the record is there the state must be: what is killed before has its end made again. The state goes
        # first: what is left without it is of no use, and the next stream of that name deletes it.
        _state_file(request.output).unlink()
        shutil.rmtree(_state_file(request.output).parent)
    return record


@contextmanager
def _enough_memory(frames: int, streaming: bool) -> Iterator[None]:
    """Raises `UserError` where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        way = "a smaller --max-batch-frames" if streaming else "--stream, or a smaller --max-batch-frames"
        raise UserError(f"too little memory for {frames} frames at once: try {way}") from None


def _label(request: Request, model: VideoModel) -> int | None:
    """Number of the class asked for."""
    classes = model.config.data.classes
    if request.class_name is None or request.class_name in classes:
        return None if request.class_name is None else classes.index(request.class_name)
    which = f"its classes: {', '.join(classes)}" if classes else "it was trained without classes"
    raise UserError(f"the run {request.run} has no class '{request.class_name}'; {which}")


def _joint(request: Request, model: VideoModel, known: KnownFiles, record: dict[str, Any]) -> None:
    """All frames together."""
    frames, folder = record["frames"], request.output.parent
    given = known.frames(0, frames)
    steps = len(request.sampling.schedule(model.config.noise, given is not None)) - 1
    if given is not None:  # what is conditioned is sampled one by one
        steps *= len(request.seeds) * request.sampling.draws
    with tqdm(total=steps, desc="sampling", unit="step") as bar:
        generators = seeded(request.seeds)
        videos = sample(model, frames, generators, request.sampling, given, lambda done: bar.update(1))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as work:
        output = open_output(request.output, Path(work), frames, record["fps"], request.lossless)
        output.append(grid(videos))
        output.finish()


def _stream(request: Request, model: VideoModel, known: KnownFiles, record: dict[str, Any]) -> None:
    """Chunk after chunk; after each, its frames and the state are on disk, so that a kill costs one chunk."""
    frames, identity = record["frames"], {key: record[key] for key in _IDENTITY}
    state_file = _state_file(request.output)
    work = state_file.parent
    state = StreamState.load(state_file, identity)
    done = 0 if state is None else min(state.frames, frames)
    output = open_output(request.output, work, frames, record["fps"], request.lossless, done)
    with tqdm(total=frames, initial=done, desc="streaming", unit="frame") as bar:
        chunks = stream(model, request.seeds, request.sampling, state, known.frames)
        while done < frames:
            fresh, state = next(chunks)
            fresh = fresh[:, :, : frames - done]
            output.append(grid(fresh))
            state.save(state_file, identity)
            done += fresh.shape[2]
            bar.update(fresh.shape[2])
    output.finish()


def _state_file(output: Path) -> Path:
    """The state of an unfinished stream, in the folder that keeps all of it."""
    return output.with_name(output.name + ".unfinished") / "state.safetensors"


_IDENTITY = (
    *("weights", "frames", "seeds", "steps", "sampler", "iterations", "repeats", "draws", "class", "guidance"),
    *("churn", "init_hash", "low_res_hash", "repair_hash", "fps", "lossless", "vidboot"),
)
"""What a stream must have in common with the one that it continues."""


def _record(request: Request, model: VideoModel, known: KnownFiles, frames: int, device: str) -> dict[str, Any]:
    sampling = request.sampling
    record = {
        "run": str(request.run),
        "output": str(request.output),
        "weights": vidboot.weights_hash(request.run),
        "frames": frames,
        "seed": request.seeds[0],
        "seeds": list(request.seeds),
        "mode": "stream" if request.streaming else "joint",
        "steps": sampling.num_steps,
        "sampler": sampling.sampler,
        "iterations": sampling.iterations,
        "repeats": sampling.repeats,
        "draws": sampling.draws,
        "class": request.class_name,
        "guidance": sampling.guidance,
        "churn": sampling.churn,
        "fps": request.fps or known.fps() or model.fps,
        "lossless": request.lossless,
        "init": _text(request.init),
        "low_res": _text(request.low_res),
        "repair": _text(request.repair),
        **known.hashes(),
        "max_batch_frames": model.max_batch_frames,
        "vidboot": vidboot.__version__,
        "torch": torch.__version__,
        "device": device,
    }
    return record | {"command": _command(record)}


_OPTIONS = {"frames": "--frames", "seed": "--seed", "steps": "--steps", "fps": "--fps", "output": "--output"}
_OPTIONS |= {"init": "--init", "low_res": "--low-res", "repair": "--repair", "class": "--class", "run": "--run"}
_OPTIONS |= {"sampler": "--sampler", "iterations": "--iterations", "repeats": "--repeats", "guidance": "--guidance"}
_OPTIONS |= {"max_batch_frames": "--max-batch-frames", "churn": "--churn", "draws": "--draws"}


def _command(record: dict[str, Any]) -> str:
    """The command that makes the same video again."""
    words = ["python", "tools/generate.py"]
    unused = {"guidance"} if record["class"] is None else set()
    for key, option in _OPTIONS.items():
        if record[key] is not None and key not in unused:
            words += [option, str(record[key])]
    if len(record["seeds"]) > 1:
        words += ["--samples", str(len(record["seeds"]))]
    words += ["--stream"] * (record["mode"] == "stream") + ["--lossless"] * record["lossless"]
    return shlex.join(words)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
