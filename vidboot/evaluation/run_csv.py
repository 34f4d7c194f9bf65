"""The report of a run as a table: one number in a line, with its interval."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidboot.data.files import write_atomic

CSV_FILE = "evaluation.csv"
TITLES = ("of", "quantity", "at", "value", "low", "high", "note")
Row = tuple[Any, ...]


def write_csv(output: Path, results: Mapping[str, Any]) -> None:
    """Write the table into the output folder; what isn't known is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(TITLES)
    writer.writerows([*_error_rows(results), *_statistics_rows(results), *_copy_rows(results)])
    write_atomic(output / CSV_FILE, text.getvalue().encode())


def _ends(interval: Mapping[str, Any]) -> Row:
    return interval["mean"], interval["low"], interval["high"]


def _error_rows(results: Mapping[str, Any]) -> Iterator[Row]:
    for key, title in (("denoising", "denoising error"), ("denoising_ratio", "denoising error over base's")):
        for name, row in results[key].items():
            for sigma, interval in zip(results["sigmas"], row, strict=True):
                yield name, title, f"sigma={sigma:g}", *_ends(interval), ""


def _statistics_rows(results: Mapping[str, Any]) -> Iterator[Row]:
    for name, row in results["statistics"].items():
        distance = row["frechet_distance"]
        if distance is not None:
            yield name, "Fréchet distance", "", *_ends(distance), distance["sentence"]
            yield name, "Fréchet distance, real from real", "", *_ends(distance["floor"]), ""
        yield name, "motion", "", *_ends(row["motion"]), ""
        if row["motion_ratio"] is not None:
            yield name, "motion over real", "", *_ends(row["motion_ratio"]), ""
        for key in ("autocorrelation", "autocorrelation_error"):
            for lag, value in row[key].items():
                yield name, key.replace("_", " "), f"lag={lag}", value, "", "", ""
        yield name, "seam ratio", "", row["seam_ratio"], "", "", ""
        for key, value in row["drift"].items():
            yield name, f"drift of {key}", "", value, "", "", ""


def _copy_rows(results: Mapping[str, Any]) -> Iterator[Row]:
    for name, row in results["copies"].items():
        yield name, "distance to the nearest training video, median", "", row["median"], "", "", row["sentence"]
        yield name, "the same of held-out videos", "", row["held_out_median"], "", "", ""
        for number, sample in enumerate(row["samples"]):
            nearest = min(sample["windows"], key=lambda window: window["distance"])
            place = f"{nearest['shot']}, frame {nearest['frame']}"
            yield name, "distance to the nearest training video", f"sample={number}", sample["distance"], "", "", place
