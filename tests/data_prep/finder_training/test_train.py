"""Training of the finder: weights of pixels, learning, going on after a stop, the exported network, the sheet."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("fontTools", reason="the fonts are read by fontTools, of the extra `finder`")
pytest.importorskip("onnx", reason="the network is written by onnx, of the extra `finder`")

from data_prep.finder.maps import CHANNELS
from data_prep.finder_training.composite import Composer
from data_prep.finder_training.network import Network, export
from data_prep.finder_training.train import (
    CROP,
    CROPS,
    UNKNOWN,
    Crops,
    Trainer,
    loss_of,
    main,
    parsed,
    train,
    weights_of,
)


def brute_weights(label: np.ndarray) -> np.ndarray:
    """Weights by a flood fill from each pixel."""
    weights = np.ones(label.shape)
    seen = np.zeros(label.shape, bool)
    for start in map(tuple, np.argwhere(label == 1)):
        if seen[start]:
            continue
        part, todo = [], [start]
        seen[start] = True
        while todo:
            y, x = todo.pop()
            part.append((y, x))
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                inside = 0 <= near[0] < label.shape[0] and 0 <= near[1] < label.shape[1]
                if inside and label[near] == 1 and not seen[near]:
                    seen[near] = True
                    todo.append(near)
        for place in part:
            weights[place] = min(max((600 / len(part)) ** 0.5, 1), 4)
    weights[label == UNKNOWN] = 0
    return weights


@pytest.mark.parametrize("seed", range(3))
def test_small_things_weigh_more(seed):
    rng = np.random.default_rng(seed)
    blobs = cv2.GaussianBlur(rng.normal(0, 1, (90, 120)), (0, 0), 5)
    label = (blobs > blobs.std()).astype(np.uint8)
    label[10:12, 10:12] = 1
    label[-20:, -30:] = UNKNOWN
    weights = weights_of(label)
    np.testing.assert_allclose(weights, brute_weights(label), rtol=1e-6)
    assert len(np.unique(weights)) > 4


def test_the_loss_is_the_weighted_mean_and_ignores_what_is_unknown():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 1, 16, 16)).astype(np.float32)
    labels = rng.choice([0, 1, UNKNOWN], (2, 16, 16)).astype(np.uint8)
    weights = np.stack([brute_weights(label) for label in labels])
    probability = 1 / (1 + np.exp(-logits[:, 0].astype(float)))
    entropy = -np.log(np.where(labels == 1, probability, 1 - probability))
    # Burnt-in pixels weigh twice.
    weights = weights * np.where(labels == 1, 2, 1)
    expected = (entropy * weights).sum() / weights.sum()
    assert float(loss_of(torch.from_numpy(logits), torch.from_numpy(labels))) == pytest.approx(expected, rel=1e-5)


def of_brightness(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of noise in which what is burnt in is what is bright on all maps."""
    rng = np.random.default_rng(seed)
    maps = rng.uniform(0, 0.4, (4, CHANNELS, 48, 48))
    labels = np.zeros((4, 48, 48), np.uint8)
    for number, (y, x) in enumerate(rng.integers(0, 28, (4, 2))):
        labels[number, y : y + 15, x : x + 20] = 1
    maps += 0.5 * labels[:, None]
    return maps.astype(np.float16), labels


def test_a_few_steps_lower_the_loss_on_what_was_not_trained_on(tmp_path):
    torch.set_num_threads(1)
    trainer = Trainer(tmp_path, 0, "cpu", composites=30, batch=1, rate=1e-2)
    unseen = [of_brightness(100)]
    before = trainer.check(unseen)
    losses = [trainer.step(*of_brightness(seed)) for seed in range(30)]
    after = trainer.check(unseen)
    assert trainer.done == 30 * (4 // CROPS)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert after["loss"] < 0.8 * before["loss"]
    assert after["found"] > 0.9
    assert after["wrong"] < 0.1


def arguments(backgrounds: Path, out: Path, hours: str) -> list[str]:
    words = (
        f"{backgrounds} {out} --composites 6 --batch 2 --checked 2 --workers 0 --device cpu --seed 7 --hours {hours}"
    )
    return words.split()


def test_training_that_was_stopped_ends_where_an_uninterrupted_one_ends(backgrounds, tmp_path, capsys):
    train(parsed(arguments(backgrounds, tmp_path / "whole", "1")))
    for _ in range(3):
        # The time is up after one step of two composites.
        train(parsed(arguments(backgrounds, tmp_path / "parts", "0")))
    notes = [json.loads(line) for line in (tmp_path / "parts/log.jsonl").read_text().splitlines()]
    assert [note["composites"] for note in notes] == [2, 4, 6]
    whole, parts = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    for name in ("network", "average"):
        assert whole[name].keys() == parts[name].keys()
        for key, value in whole[name].items():
            torch.testing.assert_close(value, parts[name][key], rtol=1e-5, atol=1e-6)
    first = Trainer(tmp_path / "new", 7, "cpu", 6, 2, 2e-3).network.state_dict()
    assert (first["stem.0.weight"] - whole["network"]["stem.0.weight"]).abs().max() > 1e-5
    # Nothing is left to do, and nothing is lost.
    capsys.readouterr()
    train(parsed(arguments(backgrounds, tmp_path / "parts", "0")))
    assert "6 of 6 composites" in capsys.readouterr().out


def trained_looking() -> Network:
    """A network whose normalisations are not those of the start, so that each layer counts."""
    torch.manual_seed(1)
    network = Network().train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.rand(2, CHANNELS, 64, 64))
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 2)
                part.bias.normal_(0, 0.5)
        network.head.weight.normal_(0, 1)
    return network.eval()


def test_opencv_runs_the_exported_network_as_torch_does(tmp_path):
    network = trained_looking()
    sizes = [(16, 16), (32, 48), (192, 320), (320, 192), (96, 96)]
    inputs = [np.random.default_rng(h * w).random((1, CHANNELS, h, w), np.float32) for h, w in sizes]
    with torch.no_grad():
        expected = [torch.sigmoid(network(torch.from_numpy(one))).numpy() for one in inputs]
    export(network, tmp_path / "burnt_in.onnx")
    assert (tmp_path / "burnt_in.onnx").stat().st_size <= 3_000_000
    loaded = cv2.dnn.readNetFromONNX(str(tmp_path / "burnt_in.onnx"))
    for one, probabilities in zip(inputs, expected, strict=True):
        assert probabilities.std() > 0.03
        loaded.setInput(one)
        np.testing.assert_allclose(loaded.forward(), probabilities, atol=1e-4)


def test_squares_hold_what_is_burnt_in(backgrounds):
    composer = Composer.of(backgrounds, 0)
    crops = Crops(composer, 0, 8)
    assert len(crops) == 8
    for index in range(4):
        maps, labels = crops[index]
        assert maps.shape == (CROPS, CHANNELS, CROP, CROP)
        whole = composer.make(index)
        assert (labels[0] == 1).any() == whole.burnt_in.any()
        # A square is a part of its composite; one of a picture that is smaller is filled with what is not known.
        if min(whole.burnt_in.shape) >= CROP:
            places = cv2.matchTemplate(whole.maps[0], maps[0, 0].astype(np.float32), cv2.TM_SQDIFF)
            assert places.min() < 1e-2
        assert (labels == UNKNOWN).any() == (min(whole.burnt_in.shape) < CROP)


def test_the_sheet_outlines_what_is_burnt_in(backgrounds, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.finder_training.train._PREVIEWED", 5)
    monkeypatch.setattr("sys.argv", ["train", str(backgrounds), "--preview", str(tmp_path / "sheet.png")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 1000
    assert (sheet == (90, 255, 90)).all(-1).sum() > 100
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("words, said", [(["bg"], "give OUT"), (["bg", "--preview", "sheet.jpg"], "ends in .png")])
def test_a_command_line_that_means_nothing_is_refused(words, said, capsys):
    with pytest.raises(SystemExit):
        parsed(words)
    assert said in capsys.readouterr().err
