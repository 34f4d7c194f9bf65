"""Measure on real clips which overlays are masked, and what else is. Run by hand:

python tests/bench/real_overlays.py FOOTAGE tests/bench/real_overlays.json [--clean FOLDER] [--output result.json]

FOOTAGE holds the clips under the names of the boxes' file (those of snap-research/Panda-70M, 640×360 pixels). Every
video below FOLDER, of which each is known to have no overlay, is judged as a clean clip (`--sample N`: N of them).
The masks are those of tools/preprocess.py at the clip's own size, with the settings given as NAME=VALUE; clips of a
folder are pooled as by a run, or judged each alone (`--alone`). `--stored OUTPUT` judges what a run wrote instead, and
`--finder MODULE:FUNCTION` what a function from a path to a `judging.Found` says. `--split K` adds the figures of each
of K folds, for choices that are set on some clips and judged by others.
"""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from finders import Preprocessing, Stored
from judging import FALSE, MASKED, Finder, Overlay, fold_of, judge, summary
from judging_pictures import draw

from data_prep.config import Preprocess
from vidboot.data.video import VideoError
from vidboot.settings import load_settings

_SUFFIXES = {".mp4", ".mkv", ".avi", ".mov", ".webm"}


def clips(footage: Path, boxes: Path | None, clean: Path | None, sample: int | None) -> dict[Path, list[Overlay]]:
    """The clips and their overlays. Of clean ones, those whose names' hashes are least."""
    named = json.loads(boxes.read_text()) if boxes else {}
    wanted = {footage / name: overlays for name, overlays in named.items()}
    for path in (path for path in wanted if not path.exists()):
        print(f"{path} is missing, left out", file=sys.stderr)
    found = {path: overlays for path, overlays in wanted.items() if path.exists()}
    if clean is not None:
        files = [path for path in clean.rglob("*") if path.suffix in _SUFFIXES]
        files.sort(key=lambda path: (fold_of(path.relative_to(clean).as_posix().replace("/", "_"), 2**32), path))
        found |= {path: [] for path in sorted(files[:sample])}
    return found


def prepared(finder: Any, path: Path) -> str | None:
    """Prepare a clip; returns why it can't be used."""
    try:
        finder.prepare(path)
    except VideoError as error:
        return error.reason
    return None


def judged(finder: Finder, pictures: Path | None, job: tuple[Path, list[Overlay], str | None]) -> dict[str, Any]:
    """The judgement of one clip."""
    path, overlays, error = job
    if error is not None:
        return {"clip": str(path), "error": error}
    try:
        found = finder(path)
    except VideoError as unusable:
        return {"clip": str(path), "error": unusable.reason}
    result = judge(found, overlays)
    if pictures is not None and (result["overlays"] or result["over"] or result["cropped"]):
        draw(path, found, overlays, result, pictures)
    return {"clip": str(path), **result}


def function(name: str) -> Finder:
    """The function of `--finder`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def measure(
    finder: Any, wanted: dict[Path, list[Overlay]], workers: int, pictures: Path | None, *, alone: bool
) -> list[dict[str, Any]]:
    """The judgements of all clips, in their order."""
    # Started afresh: OpenCV's threads don't survive a fork.
    with nullcontext() if workers == 1 else get_context("spawn").Pool(workers) as pool:
        each: Callable[..., Iterable] = map if pool is None else pool.imap
        errors: list[str | None] = [None] * len(wanted)
        if hasattr(finder, "prepare"):
            errors = list(_told(each(partial(prepared, finder), wanted), len(wanted), "analysed"))
            if not alone:
                finder.pool([path for path, error in zip(wanted, errors, strict=True) if error is None])
        jobs = [(*item, error) for item, error in zip(wanted.items(), errors, strict=True)]
        return list(_told(each(partial(judged, finder, pictures), jobs), len(jobs), "judged"))


def _told(results: Iterable, total: int, what: str) -> Iterable:
    for number, result in enumerate(results, 1):
        if number % 20 == 0 or number == total:
            print(f"{number} of {total} {what}", file=sys.stderr, flush=True)
        yield result


def table(figures: dict[str, Any]) -> str:
    """The figures as lines to read."""
    lines = []
    for name, value in figures.items():
        if not isinstance(value, dict):
            lines.append(f"{name:34} {value}")
        elif "count" in value:
            interval = f"  {value['share']:6.1%}  ({value['from']:.1%} to {value['to']:.1%})" if value["of"] else ""
            lines.append(f"{name:34} {value['count']:4} of {value['of']:4}{interval}")
        elif value["of"]:
            lines.append(f"{name:34} {value['mean']:11.3%}  ({value['from']:.3%} to {value['to']:.3%})")
    return "\n".join(lines)


def faults(results: list[dict[str, Any]]) -> str:
    """What was missed, and where something was masked that is no overlay."""
    lines = []
    for one in (one for one in results if "error" not in one):
        name = "/".join(Path(one["clip"]).parts[-2:])
        for overlay in one["overlays"]:
            if overlay["share"] is not None and overlay["share"] < MASKED:
                said = f"{overlay['share']:4.0%} masked, called {overlay['verdict']}"
                lines.append(f"missed  {name}: {overlay['kind']} {overlay['says']!r}, {said}")
        if one["over"] > FALSE:
            beside = " beside its overlays" if one["overlays"] else ""
            frame, most = one["peak"]
            lines.append(f"false   {name}: {one['over']:.2%} masked{beside}, {most:.1%} in frame {frame}")
        if one["cropped"] > FALSE:
            lines.append(f"cropped {name}: {one['cropped']:.2%} cut off that is no bar")
    return "\n".join(lines)


def report(results: list[dict[str, Any]], folds: int) -> dict[str, Any]:
    """The figures of all clips and of each fold."""
    said = {"all": summary(results)}
    for fold in range(folds if folds > 1 else 0):
        said[f"fold {fold}"] = summary([one for one in results if fold_of(one["clip"], folds) == fold])
    return said


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", nargs="*", metavar="FOOTAGE BOXES.json NAME=VALUE")
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--split", type=int, default=1)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--stored", type=Path)
    parser.add_argument("--finder")
    given = parser.parse_intermixed_args()
    given.settings = [one for one in given.given if "=" in one]
    paths = [Path(one) for one in given.given if "=" not in one]
    if len(paths) not in (0, 2) or not (paths or given.clean):
        parser.error("give FOOTAGE and the file of its boxes, or --clean FOLDER, or both")
    given.footage, given.boxes = paths or (Path(), None)
    return given


def main() -> None:
    """Judge, print, and write."""
    given = options()
    wanted = clips(given.footage, given.boxes, given.clean, given.sample)
    with tempfile.TemporaryDirectory() as work:
        if given.finder:
            finder = function(given.finder)
        elif given.stored:
            finder = Stored(given.stored)
        else:
            finder = Preprocessing(load_settings(Preprocess, None, given.settings), Path(work))
        results = measure(finder, wanted, given.workers, given.pictures, alone=given.alone)
    said = report(results, given.split)
    for name, figures in said.items():
        print(f"{name}\n{table(figures)}\n")
    print(faults(results))
    if given.output:
        given.output.write_text(json.dumps({"figures": said, "clips": results}, indent=1))


if __name__ == "__main__":
    main()
