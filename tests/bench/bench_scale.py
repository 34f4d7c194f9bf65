"""What a run costs beside the work on the videos, at 1,000, 10,000 and 100,000 videos. Run by hand:

python tests/bench/bench_scale.py [--videos 1000 10000 100000] [--films FILE…] [--folder DIR]
python tests/bench/bench_scale.py --real 500 5000 [--folder DIR]

First: a few real videos (the trailer of the tests, in parts, if none are given) are preprocessed. Each of the many has
the records of one of them under its own keys, with random fingerprints, and hard links to its shots; one in a thousand
looks like one before it. Their input files are tiny, because a run that finds nothing new does not read them. Records
are handed back, and masks are packed. Then, in processes of their own: a run that makes manifest and report from the
records, without real maps for shared overlays; a run that finds nothing new; and the start of a training. Processor
time for each video by stage, in brackets wall time, which other programs on the machine make longer; and memory. At
the end the cost of a further video from each number of videos to the next, which leaves out what does not depend on
their number. Needs no network, and 2 GB of disk for 100,000 videos.

Second: `tools/preprocess.py` on so many real videos, each of 16 frames of 64×48 pixels with a texture of its own, in
folders of 100: processor seconds of the whole command with its workers, and again when nothing is new.
"""

import argparse
import ctypes
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scale_real import bytes_of, real_videos

from data_prep import inputs, run
from data_prep.analysing import Analyser, key_of
from data_prep.config import Preprocess
from data_prep.mask_tars import keep_masks, pack_masks
from data_prep.storing import Storer
from data_prep.text.model import model_for
from data_prep.work.hashes import keep_hash
from data_prep.work.store import Store, chunks, open_store, packed, unpacked
from vidboot.data.manifest import load_manifest, write_manifest
from vidboot.data.members import read_bytes
from vidboot.data.video import VideoWriter, read_frames

ROOT = Path(__file__).parents[2]
TRAILER = ROOT / "tests/data/big_buck_bunny_trailer.mp4"
SETTINGS = Preprocess(workers=1, text={"detector": "opencv"})
# Videos of a folder; videos whose records are handed back at the same time, as 16 workers do.
FOLDER, BATCH = 100, 16
# Files by number of links that one of them may have; and one video in how many looks like one before it.
MOST_LINKS, TWINS = 30_000, 1000


def templates(films: list[Path], output: Path) -> list[dict[str, Any]]:
    """The records of real videos, in a folder that a real run has made, and the contents of their masks."""
    run.preprocess(films, output, SETTINGS)
    found = []
    with open_store(output) as store:
        stored = {unpacked(value)["shots"][0]["path"].split("/")[2]: key for key, value in store.rows("stored")}
        for key in store.keys("encoded"):
            record = {t: store.get(t, key) for t in ("briefs", "analyses", "encoded", "maps")}
            shots = stored[key[:20]]
            record |= {"stored": unpacked(store.get("stored", shots)), "pages": store.get("pages", shots)}
            masks = [shot["mask"] for shot in record["stored"]["shots"]]
            found.append({"key": key, "masks": [m and read_bytes(output / m) for m in masks], **record})
    return found


def parts_of(film: Path, folder: Path) -> list[Path]:
    """Parts of a film, of 4 to 16 seconds, at its own rate."""
    spans = [(0, 400), (100, 200), (300, 500), (400, 800)]
    paths = [folder / f"part{number}.mp4" for number in range(len(spans))]
    if all(path.exists() for path in paths):
        return paths
    frames = read_frames(film)
    for path, (start, end) in zip(paths, spans, strict=True):
        with VideoWriter(path, 25.0) as writer:
            for image in frames[start:end]:
                writer.write(image)
    return paths


def moved(template: dict[str, Any], analysis: str, key: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, bytes]]:
    """The records `stored` and `encoded` and the masks, with the names that they have under other keys."""
    records = {"stored": template["stored"], "encoded": unpacked(template["encoded"])}
    there, here = (f"{name[:2]}/{name[:20]}" for name in (template["key"], analysis))
    records = json.loads(json.dumps(records).replace(there, here))
    masks = {}
    for shot, content in zip(records["stored"]["shots"], template["masks"], strict=True):
        if content is not None:
            shot["mask"] = f"masks/{key[:20]}/{shot['start']:07d}-{shot['end']:07d}.npz"
            masks[shot["mask"]] = content
    return records["stored"], records["encoded"], masks


def make(count: int, films: Path, output: Path, found: list[dict[str, Any]], source: Path) -> None:
    """The input files and the shots of many videos; no records."""
    for number in range(count):
        path = films / f"{number // FOLDER:06}" / f"{number:08}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "big"))
        template = found[number % len(found)]
        encoded = moved(template, *keys_of(number))[1]["files"]
        for name, original in zip(encoded, unpacked(template["encoded"])["files"], strict=True):
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            copy = source / f"{original}.{number // MOST_LINKS}"
            if not copy.exists():
                shutil.copyfile(source / original, copy)
            os.link(copy, output / name)


@functools.cache
def _digest() -> str:
    return SETTINGS.digest(model_for(SETTINGS.text) is not None)


def keys_of(number: int) -> tuple[str, str]:
    """The keys of a video's records: they depend on its content and the settings."""
    analysis = key_of("analysis", content_of(number), _digest())
    return analysis, key_of("store", analysis, "None", "[]")


def content_of(number: int) -> str:
    return hashlib.sha256(number.to_bytes(8, "big")).hexdigest()


def fill(count: int, films: Path, output: Path, found: list[dict[str, Any]]) -> None:
    """Keep the records of many videos, as they come from the workers."""
    with open_store(output) as store:
        for numbers in chunks(range(count), BATCH):
            with store.together():
                for number in numbers:
                    # A twin has the fingerprint of the one before it that has the same records.
                    seed = number - len(found) if number % TWINS == TWINS - 1 else number
                    _fill_one(store, number, films, found[number % len(found)], np.random.default_rng(seed))


def pack(output: Path) -> None:
    """Put the masks of the videos into tars."""
    with open_store(output) as store:
        pack_masks(store, output)


def _fill_one(store: Store, number: int, films: Path, template: dict[str, Any], rng: np.random.Generator) -> None:
    path = films / f"{number // FOLDER:06}" / f"{number:08}.mp4"
    status, (analysis, key) = path.stat(), keys_of(number)
    keep_hash(store, path, (status.st_size, status.st_mtime_ns, content_of(number)))
    brief = unpacked(template["briefs"])
    brief["fingerprint"] = rng.bytes(len(brief["fingerprint"]) // 2).hex()
    store.put("briefs", analysis, packed(brief))
    store.put("analyses", analysis, template["analyses"])
    stored, encoded, masks = moved(template, analysis, key)
    store.put("encoded", analysis, packed(encoded))
    store.put("files", key, packed(encoded["files"]))
    store.put("stored", key, packed(stored))
    keep_masks(store, key, masks)
    # Of each folder the first few have maps; here damaged ones, which a folder's overlay is not made of.
    store.put("maps", analysis, b"")
    if number < run._ON_PAGE:
        store.put("pages", key, template["pages"])


Seconds = dict[str, list[float]]
"""Processor seconds and wall seconds, by stage."""
STAGES: dict[str, tuple[Any, str]] = {
    "find files": (inputs, "scan"),
    "look up hashes": (inputs, "known_hashes"),
    "compare with the last run": (run, "state_of"),
    "check shots, take the last outcome": (run, "last_outcome"),
    "look up analyses": (Analyser, "run"),
    "near-duplicates": (run._Run, "_remarks"),
    "shared overlays": (Analyser, "pooled"),
    "keys": (run, "plans"),
    "check shots": (Storer, "run"),
    "manifest": (run._Run, "_write_manifest"),
    "report": (run._Run, "_write_report"),
    "keep the outcome": (run, "keep_outcome"),
}
"""What is timed: functions that do not call each other."""


def timed(seconds: Seconds) -> None:
    """Let the stages add their seconds up."""
    for stage, (owner, name) in STAGES.items():
        setattr(owner, name, _timed(getattr(owner, name), stage, seconds))


def _timed(function: Callable, stage: str, seconds: Seconds) -> Callable:
    @functools.wraps(function)
    def wrapped(*given: Any, **named: Any) -> Any:
        begun = time.process_time(), time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            seconds[stage][0] += time.process_time() - begun[0]
            seconds[stage][1] += time.perf_counter() - begun[1]

    return wrapped


def one_run(films: Path, output: Path) -> dict[str, Any]:
    """Seconds by stage, and peak memory above that of the program itself."""
    seconds: Seconds = defaultdict(lambda: [0.0, 0.0])
    timed(seconds)
    warm_up()
    # What loading has freed is given back first, or the run's first megabytes would not count (glibc).
    ctypes.CDLL(None).malloc_trim(0)
    # From here on, the largest memory counts anew (Linux).
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("VmRSS")
    outcome = _timed(run.preprocess, "all", seconds)([films], output, SETTINGS)
    kilobytes = _kilobytes("VmHWM") - before
    alike = sum("looks like" in one.text for one in outcome.remarks)
    return {"seconds": seconds, "kilobytes": kilobytes, "new": outcome.new, "shots": outcome.shots, "alike": alike}


def warm_up() -> None:
    """Let Arrow load what it needs once, which takes up to a second."""
    pa.RecordBatch.from_pylist([{"number": 1}])  # with pandas, where that is installed
    with tempfile.TemporaryDirectory() as name:
        write_manifest(name, [])
        load_manifest(name)


def _kilobytes(name: str) -> int:
    """The memory of this process at present (VmRSS), or its largest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def in_its_own_process(*given: str | Path) -> dict[str, Any]:
    """What this program, or another one, prints as JSON in its last line; no other one has used its memory before."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, given)], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def show(seconds: Seconds, count: int) -> None:
    """Print milliseconds a video by stage."""
    for stage, (processor, wall) in seconds.items():
        print(f"    {stage}: {1000 * processor / count:.4f} ({1000 * wall / count:.4f}) ms a video")


def measure(count: int, folder: Path, found: list[dict[str, Any]], source: Path) -> dict[str, float]:
    """Make so many videos, print what runs on them cost; returns milliseconds and kilobytes of all, by name."""
    films, output = folder / "films", folder / "out"
    output.mkdir(parents=True)
    make(count, films, output, found, source)
    seconds: Seconds = defaultdict(lambda: [0.0, 0.0])
    _timed(fill, "records handed back", seconds)(count, films, output, found)
    _timed(pack, "masks packed", seconds)(output)
    print(f"\n{count} videos")
    show(seconds, count)
    costs = {stage: 1000 * processor for stage, (processor, _) in seconds.items()}
    for name in ("everything from the records", "nothing new"):
        result = in_its_own_process(__file__, "--one", films, output)
        assert result["new"] == 0, result
        assert result["alike"] == count // TWINS, result
        print(f"  {name}: {result['shots']} shots, {result['kilobytes'] / count:.2f} kB of memory a video")
        show(result["seconds"], count)
        costs |= {f"{name}: {stage}": 1000 * processor for stage, (processor, _) in result["seconds"].items()}
        costs[f"{name}: memory"] = result["kilobytes"]
    training = in_its_own_process(ROOT / "tests/bench/scale_training.py", output)
    print("  start of a training: " + ", ".join(f"{name} {value:.4g}" for name, value in training.items()))
    print("\n".join(bytes_of(output, count)), flush=True)
    return costs


def compare(costs: dict[int, dict[str, float]]) -> None:
    """Print what a further video costs, from each number of videos to the next."""
    counts = sorted(costs)
    print("\nms (memory: kB) for each further video, " + ", ".join(f"{a} to {b}" for a, b in pairwise(counts)))
    for name in costs[counts[0]]:
        each = [(costs[b][name] - costs[a][name]) / (b - a) for a, b in pairwise(counts)]
        ratio = f" (times {each[-1] / each[-2]:.2f})" if len(each) > 1 and each[-2] > 0 else ""
        print(f"  {name}: " + ", ".join(f"{one:.4f}" for one in each) + ratio)


def main() -> None:
    """Parse the arguments and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--films", type=Path, nargs="+", help="real videos whose records are used")
    parser.add_argument("--folder", type=Path, help="where to work, and keep the real videos' run; by default nowhere")
    parser.add_argument("--real", type=int, nargs="+", help="preprocess so many small real videos instead")
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(one_run(*arguments.one)))
        return
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.real is None:
            bench(folder.resolve(), arguments.films, arguments.videos)
        for count in arguments.real or ():
            real_videos(count, folder.resolve() / f"real{count}")


def work_of(found: list[dict[str, Any]]) -> tuple[float, int]:
    """Processor seconds of analysis and storing, and frames, of the real videos."""
    briefs = [unpacked(one["briefs"]) for one in found]
    seconds = [one["seconds"] for one in briefs] + [one["stored"]["seconds"] for one in found]
    return sum(sum(each.values()) for each in seconds), sum(one["frames"] for one in briefs)


def bench(folder: Path, films: list[Path] | None, counts: list[int]) -> None:
    """Print all figures."""
    found = templates(films or parts_of(TRAILER, folder / "films"), folder / "real")
    shots = [len(one["stored"]["shots"]) for one in found]
    seconds, frames = work_of(found)
    print(f"{len(found)} real videos, {sum(shots)} shots; work on their pictures: {frames} frames, {seconds:.1f} s")
    print("\n".join(bytes_of(folder / "real", len(found))), flush=True)
    costs = {}
    for count in sorted(counts):
        shutil.rmtree(folder / str(count), ignore_errors=True)
        costs[count] = measure(count, folder / str(count), found, folder / "real")
        shutil.rmtree(folder / str(count))
    if len(costs) > 1:
        compare(costs)


if __name__ == "__main__":
    main()
