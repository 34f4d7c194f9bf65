"""What a run costs beside the work on the videos, at 1,000, 10,000 and 100,000 videos. Run by hand:

python tests/bench/bench_scale.py [--videos 1000 10000 100000] [--films FILE…] [--folder DIR]

A few real videos (the trailer of the tests, in parts, if none are given) are preprocessed. Each of the many has the
records of one of them under its own keys, with random fingerprints, and hard links to its shots. Their input files are
tiny, because a run that finds nothing new does not read them. In turns of their own process: records are handed back;
a run that makes manifest and report from the records, without real maps for shared overlays; and a run that finds
nothing new. Milliseconds of processor time and kilobytes of memory for each video, by stage; in brackets milliseconds
of wall time, which other programs on the machine make longer. Needs no network, and 2 GB of disk for 100,000 videos.
"""

import argparse
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import inputs, run
from data_prep.analysing import Analyser, key_of
from data_prep.config import Preprocess
from data_prep.storing import Storer
from data_prep.text.model import model_for
from data_prep.work.hashes import keep_hash
from data_prep.work.store import Store, chunks, open_store, packed, unpacked
from vidboot.data.video import VideoWriter, read_frames

ROOT = Path(__file__).parents[2]
TRAILER = ROOT / "tests/data/big_buck_bunny_trailer.mp4"
SETTINGS = Preprocess(workers=1, text={"detector": "opencv"})
# Videos of a folder; videos whose records are handed back at the same time, as 16 workers do.
FOLDER, BATCH = 100, 16
# Files by number of links that one of them may have.
MOST_LINKS = 30_000


def templates(films: list[Path], output: Path) -> list[dict[str, Any]]:
    """The records of real videos, in a folder that a real run has made."""
    run.preprocess(films, output, SETTINGS)
    with open_store(output) as store:
        found = []
        for key in store.keys("encoded"):
            record = {t: store.get(t, key) for t in ("briefs", "analyses", "encoded", "maps")}
            found.append({"key": key, **record})
        for name in ("stored", "files", "pages"):
            for key, value in store.rows(name):
                files = unpacked(store.get("files", key))
                mine = next(one for one in found if any(one["key"][:20] in path for path in files))
                mine[name] = value
        return [one for one in found if "stored" in one]


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


def moved(template: dict[str, Any], analysis: str, key: str) -> dict[str, Any]:
    """The records that name files, with the names that they have under other keys."""
    text = json.dumps({name: unpacked(template[name]) for name in ("files", "stored", "encoded")})
    masks = {name.split("/")[1] for name in unpacked(template["files"]) if name.startswith("masks/")}
    for name, new in [(template["key"][:20], analysis[:20]), *((mask, key[:20]) for mask in masks)]:
        text = text.replace(name, new)
    return json.loads(text)


def make(count: int, films: Path, output: Path, found: list[dict[str, Any]], source: Path) -> None:
    """The input files and the files of the shots of many videos; no records."""
    for number in range(count):
        path = films / f"{number // FOLDER:06}" / f"{number:08}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "big"))
        template = found[number % len(found)]
        analysis, key = keys_of(number)
        new, old = moved(template, analysis, key)["files"], unpacked(template["files"])
        for name, original in zip(new, old, strict=True):
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
    rng = np.random.default_rng(0)
    with open_store(output) as store:
        for numbers in chunks(range(count), BATCH):
            with store.together():
                for number in numbers:
                    _fill_one(store, number, films, found[number % len(found)], rng)


def _fill_one(store: Store, number: int, films: Path, template: dict[str, Any], rng: np.random.Generator) -> None:
    path = films / f"{number // FOLDER:06}" / f"{number:08}.mp4"
    status, (analysis, key) = path.stat(), keys_of(number)
    keep_hash(store, path, (status.st_size, status.st_mtime_ns, content_of(number)))
    brief = unpacked(template["briefs"])
    brief["fingerprint"] = rng.bytes(len(brief["fingerprint"]) // 2).hex()
    store.put("briefs", analysis, packed(brief))
    store.put("analyses", analysis, template["analyses"])
    records = moved(template, analysis, key)
    store.put("encoded", analysis, packed(records["encoded"]))
    store.put("files", key, packed(records["files"]))
    store.put("stored", key, packed(records["stored"]))
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
    # From here on, the largest memory counts anew (Linux).
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("VmRSS")
    outcome = _timed(run.preprocess, "all", seconds)([films], output, SETTINGS)
    kilobytes = _kilobytes("VmHWM") - before
    return {"seconds": seconds, "kilobytes": kilobytes, "new": outcome.new, "shots": outcome.shots}


def _kilobytes(name: str) -> int:
    """The memory of this process at present (VmRSS), or its largest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def in_its_own_process(films: Path, output: Path) -> dict[str, Any]:
    """`one_run`, whose memory nothing else has used before."""
    command = [sys.executable, __file__, "--one", str(films), str(output)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    return json.loads(done.stdout.splitlines()[-1])


def bytes_of(output: Path, count: int) -> Iterator[str]:
    """What the files take, in words."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for path in output.rglob("*"):
        if path.is_file():
            sizes[path.relative_to(output).parts[0]].append(path.stat().st_size)
    for name, each in sizes.items():
        yield f"  {name}: {len(each) / count:.3f} files, {sum(each) / count:,.0f} bytes a video"


def show(seconds: Seconds, count: int) -> None:
    """Print milliseconds a video by stage."""
    for stage, (processor, wall) in seconds.items():
        print(f"    {stage}: {1000 * processor / count:.4f} ({1000 * wall / count:.4f}) ms a video")


def measure(count: int, folder: Path, found: list[dict[str, Any]], source: Path) -> None:
    """Make so many videos and print what runs on them cost."""
    films, output = folder / "films", folder / "out"
    output.mkdir(parents=True)
    make(count, films, output, found, source)
    seconds: Seconds = defaultdict(lambda: [0.0, 0.0])
    _timed(fill, "records handed back", seconds)(count, films, output, found)
    print(f"\n{count} videos")
    show(seconds, count)
    for name in ("everything from the records", "nothing new"):
        result = in_its_own_process(films, output)
        assert result["new"] == 0, result
        print(f"  {name}: {result['shots']} shots, {result['kilobytes'] / count:.2f} kB of memory a video")
        show(result["seconds"], count)
    print("\n".join(bytes_of(output, count)), flush=True)


def main() -> None:
    """Parse the arguments and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--films", type=Path, nargs="+", help="real videos whose records are used")
    parser.add_argument("--folder", type=Path, help="where to work, and keep the real videos' run; by default nowhere")
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(one_run(*arguments.one)))
        return
    if arguments.folder is not None:
        bench(arguments.folder.resolve(), arguments.films, arguments.videos)
        return
    with tempfile.TemporaryDirectory() as name:
        bench(Path(name), arguments.films, arguments.videos)


def bench(folder: Path, films: list[Path] | None, counts: list[int]) -> None:
    """Print all figures."""
    found = templates(films or parts_of(TRAILER, folder / "films"), folder / "real")
    shots = [unpacked(one["stored"])["shots"] for one in found]
    print(f"{len(found)} real videos, with {sum(map(len, shots))} shots")
    print("\n".join(bytes_of(folder / "real", len(found))), flush=True)
    for count in counts:
        shutil.rmtree(folder / str(count), ignore_errors=True)
        measure(count, folder / str(count), found, folder / "real")
        shutil.rmtree(folder / str(count))


if __name__ == "__main__":
    main()
