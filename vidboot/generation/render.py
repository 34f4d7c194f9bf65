"""From a trained run to a file: what `tools/generate.py` does."""

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vidboot.data.files import write_atomic
from vidboot.errors import UserError
from vidboot.generation.classes import labels_of, requested_class
from vidboot.generation.inputs import InputFiles
from vidboot.generation.kept_sample import KeptSample
from vidboot.generation.request import GenerateRequest, ResolvedRequest
from vidboot.generation.sampling import Sampling, sample_seeds, steps_of
from vidboot.generation.streaming import StreamState, stream
from vidboot.generation.writers import AT_ONCE, PNG_FOLDER, Output, check_fps, check_path, enlarged, grid, open_output
from vidboot.model.run_folder import load, weights_hash
from vidboot.model.video_model import VideoModel
from vidboot.networks.compiled import has_compiler
from vidboot.options import words_of

OnProgress = Callable[[int, int, str], None]
"""Is told how much is done, of how much, and of what: sampler steps, or frames of a stream."""


def say_nothing(done: int, total: int, unit: str) -> None:
    """Default callback: does nothing."""


def check_output(path: Path, streaming: bool = False) -> None:
    """Raise `UserError` if `path` can't be an output, or its record would replace another file. Writes nothing."""
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
    """What a file is, in words, unless it is the record of this output or of one that no longer exists."""
    try:
        stored = json.loads(record.read_text())
    except (OSError, ValueError):
        stored = None
    if not isinstance(stored, dict) or not {"weights", "seeds", "command", "output"} <= stored.keys():
        return "is no record of a generated video"
    other = record.with_name(Path(stored["output"]).name)
    return f"is the record of {other}" if other.name != output.name and other.exists() else None


def make_folder(path: Path, streaming: bool = False) -> None:
    """Make the folder of `path`, and check that all files can be written there; raises `UserError` if not."""
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


def render(
    request: GenerateRequest, model: VideoModel | None = None, on_progress: OnProgress = say_nothing
) -> dict[str, Any]:
    """Sample, write the output and, beside it, a record of all that is needed to make it again; returns the record.

    `model` is the run's, where it is in memory already. Raises `UserError` for the user's mistakes, before sampling
    starts.
    """
    _check_paths(request)
    if model is None:
        model = load_for_sampling(request.run)
        if request.compile and has_compiler("sampling"):
            model = model.compiled()
    model.max_batch_frames = request.max_batch_frames or model.max_batch_frames
    sampling = Sampling.of(request, model, request.only_repairs)
    sampling = sampling.of_class(requested_class(request, model))
    video = model.config.video
    inputs = InputFiles(video.height, video.width, request.init, request.low_res, request.repair)
    resolved = _resolved(request, sampling, model, inputs)
    check_fps(request.output, resolved.fps)
    record = _record(resolved, sampling, model, inputs)
    make_folder(request.output, request.stream)
    identity = {key: value for key, value in record.items() if key not in WITHOUT_EFFECT}
    shape = (request.samples, 3, resolved.frames, video.height, video.width)
    kept = KeptSample(request.output, shape, identity)
    with _alone(request.output), _enough_memory(resolved):
        if request.stream:
            _stream(resolved, sampling, model, inputs, identity, on_progress)
        else:
            _joint(resolved, sampling, model, inputs, kept, on_progress)
        write_atomic(request.output.with_suffix(".json"), (json.dumps(record, indent=2) + "\n").encode())
        kept.delete()
        if request.stream:
            # Only now: a stream that is killed before its record is written has its last chunk made again. The state
            # goes first, because without it the rest of the folder is of no use, and the next stream deletes it.
            _state_file(request.output).unlink()
            shutil.rmtree(_state_file(request.output).parent)
    return record


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Lock `output` against other generations."""
    lock = output.with_name(f".lock-{output.name}")
    try:
        with FileLock(lock, timeout=0), ExitStack() as at_end:
            at_end.callback(lock.unlink, missing_ok=True)
            yield
    except Timeout:
        raise UserError(f"another process makes {output}: wait for it, or choose another --output") from None


def load_for_sampling(run: Path) -> VideoModel:
    """The model of a run folder, on the GPU if there is one; raises `UserError` as `load` does."""
    return load(run, "cuda" if torch.cuda.is_available() else "cpu").frozen()


def _check_paths(request: GenerateRequest) -> None:
    check_output(request.output, request.stream)
    if request.fps is not None:
        check_fps(request.output, request.fps)
    for option, path in request.observed.items():
        if path.resolve() == request.output.resolve():
            raise UserError(
                f"--output {request.output} is the file of --{option.replace('_', '-')} too; choose another"
            )


def _resolved(request: GenerateRequest, sampling: Sampling, model: VideoModel, inputs: InputFiles) -> ResolvedRequest:
    """The request with every default filled in."""
    longest = inputs.check()
    frames = request.frames or longest
    if frames is None:
        raise UserError("give --frames: how many frames to make")
    chosen = {name: getattr(sampling, name) for name in ("steps", "sampler", "draws")}
    fps = request.fps or inputs.fps() or model.fps
    chosen |= {"frames": frames, "fps": fps, "max_batch_frames": model.max_batch_frames}
    return ResolvedRequest(**request.model_dump() | chosen)


@contextmanager
def _enough_memory(request: ResolvedRequest) -> Iterator[None]:
    """Raise `UserError` where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        way = "a smaller --max-batch-frames" if request.stream else "--stream, or a smaller --max-batch-frames"
        raise UserError(f"too little memory for {request.frames} frames at once: try {way}") from None


def _joint(
    request: ResolvedRequest,
    sampling: Sampling,
    model: VideoModel,
    inputs: InputFiles,
    kept: KeptSample,
    on_progress: OnProgress,
) -> None:
    """Sample all frames together, and write them. The sample of an earlier try that only lacked room is written now."""
    with tempfile.TemporaryDirectory(dir=request.output.parent, prefix=".partial-") as work:
        size = _size(request, model)
        output = open_output(request.output, Path(work), request.frames, request.fps, request.lossless, size=size)
        videos = kept.load()
        if videos is None:
            videos = _sampled(request, sampling, model, inputs, kept, on_progress)
        try:
            _append(output, videos, request.enlarge)
            output.finish()
        except KeyboardInterrupt:
            kept.delete()
            raise


def _sampled(
    request: ResolvedRequest,
    sampling: Sampling,
    model: VideoModel,
    inputs: InputFiles,
    kept: KeptSample,
    on_progress: OnProgress,
) -> Float[Tensor, "B C T H W"]:
    """Sample all frames together, and keep them in the space that is reserved before."""
    observation = inputs.frames(0, request.frames)
    steps = steps_of(model, request.seeds, sampling, observation is not None)
    kept.reserve()
    try:
        with tqdm(total=steps, desc="sampling", unit="step") as bar:

            def on_step(done: int) -> None:
                """Tell of one more step."""
                bar.update(1)
                on_progress(done, steps, "steps")

            videos = sample_seeds(model, request.frames, request.seeds, sampling, observation, on_step)
        kept.save(videos)
    except BaseException:
        kept.delete()
        raise
    return videos


def _size(request: ResolvedRequest, model: VideoModel) -> tuple[int, int, int]:
    """The output's channels, height and width: all samples in a grid."""
    video = model.config.video
    channels, _, height, width = grid(torch.zeros(request.samples, 3, 1, video.height, video.width)).shape
    return channels, height * request.enlarge, width * request.enlarge


def _append(output: Output, videos: Float[Tensor, "B C T H W"], times: int) -> None:
    """Add frames of all samples, in a grid and enlarged; a few at a time, as enlarged ones take more memory."""
    for part in grid(videos).split(AT_ONCE, dim=1):
        output.append(enlarged(part, times))


def _stream(
    request: ResolvedRequest,
    sampling: Sampling,
    model: VideoModel,
    inputs: InputFiles,
    identity: dict[str, Any],
    on_progress: OnProgress,
) -> None:
    """Sample chunk after chunk. Frames and state are on disk after each, so that a kill costs one chunk."""
    frames, state_file = request.frames, _state_file(request.output)
    work = state_file.parent
    state = StreamState.load(state_file, identity)
    done = 0 if state is None else min(state.frames, frames)
    size = _size(request, model)
    output = open_output(request.output, work, frames, request.fps, request.lossless, done, size)
    with tqdm(total=frames, initial=done, desc="streaming", unit="frame") as bar:
        chunks = stream(model, request.seeds, sampling, state, inputs.frames)
        while done < frames:
            fresh, state = next(chunks)
            fresh = fresh[:, :, : frames - done]
            _append(output, fresh, request.enlarge)
            state.save(state_file, identity)
            done += fresh.shape[2]
            bar.update(fresh.shape[2])
            on_progress(done, frames, "frames")
    output.finish()


def _state_file(output: Path) -> Path:
    """The file with the state of an unfinished stream, in the folder that holds the stream."""
    return unfinished(output) / "state.safetensors"


def unfinished(output: Path) -> Path:
    """The folder that holds an unfinished stream; of an mp4 it has the pieces that are done."""
    return output.with_name(output.name + ".unfinished")


WITHOUT_EFFECT = {"run", "output", "init", "low_res", "repair", "max_batch_frames", "compile"}
WITHOUT_EFFECT |= {"torch", "device", "command"}
"""Keys of the record that may differ when a stream is continued; the weights and the files' hashes may not."""


def _record(request: ResolvedRequest, sampling: Sampling, model: VideoModel, inputs: InputFiles) -> dict[str, Any]:
    """All that is needed to make the video again: the request with its defaults, and what it was made from."""
    labels = labels_of(model, request.seeds, sampling.label, bool(request.observed))
    return request.model_dump(mode="json", exclude={"label"}) | {
        "seeds": list(request.seeds),
        "classes": [None if label is None else model.config.data.classes[label] for label in labels],
        "weights": weights_hash(request.run),
        **inputs.hashes(),
        "vidboot": version("vidboot"),
        "torch": torch.__version__,
        "device": model.device.type,
        "command": shlex.join(["python", "tools/generate.py", *words_of(request)]),
    }
