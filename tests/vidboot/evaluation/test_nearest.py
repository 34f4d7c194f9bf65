"""The nearest training windows by brute force, and videos of which is known whether they are copies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vidboot.data.datasets import to_tensor
from vidboot.data.manifest import load_manifest
from vidboot.evaluation import nearest as module
from vidboot.evaluation.nearest import copied_or_made, nearest_windows, search_training, windows_of
from vidboot.experiments.digits import write_digits

LENGTH = 4
MEAN = torch.linspace(-1, 0, 16).expand(3, 1, 16, 16)
"""Stands for a mean frame; distances don't depend on it."""


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Sixteen shots of 24 frames of moving digits, 16×16."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder, full=16, clips=1, low_res=0, num_frames=24, clip_frames=4, size=16)
    return load_manifest(folder).supplying("full")


def videos(shots, frames=range(3, 15)):
    return torch.stack([to_tensor(shot.frames(frames)) for shot in shots])


def noise(count):
    return torch.rand(count, 3, 12, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("chunk", [256, 8])
def test_the_nearest_window_is_that_of_a_search_by_brute_force(chunk, shots, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    queries = torch.cat([windows_of(noise(1), LENGTH), windows_of(videos(shots[4:6]), LENGTH) * 0.7])
    found = nearest_windows(queries, shots[:4], MEAN)
    for number, query in enumerate(queries):
        distances = {
            (s, t): (query - to_tensor(shot.frames(range(t, t + LENGTH)))).square().mean().item()
            for s, shot in enumerate(shots[:4])
            for t in range(24 - LENGTH + 1)
        }
        best = min(distances, key=distances.get)
        frames = to_tensor(
            shots[int(found.shot[number])].frames(range(found.start[number], found.start[number] + LENGTH))
        )
        assert found.energy[number] == pytest.approx((frames - MEAN).square().mean().item(), rel=1e-5)
        assert found.distance[number] == pytest.approx(distances[best], rel=1e-5)
        assert distances[int(found.shot[number]), int(found.start[number])] == pytest.approx(distances[best], rel=1e-5)


def test_large_pictures_are_compared_at_32_pixels():
    """Averages over 2×2 pixels; what differs within them only is no difference."""
    large = torch.rand(2, 3, 4, 32, 64, generator=torch.Generator().manual_seed(0))
    expected = large.unfold(3, 2, 2).unfold(4, 2, 2).mean((5, 6)).movedim(1, 2).flatten(2)
    torch.testing.assert_close(module._small(large), expected)


def test_training_videos_are_called_copied_and_noise_is_not(shots):
    training, held_out = shots[:4], videos(shots[4:])
    made = {
        "copies": videos(training) + 0.1 * noise(4),
        "noise": noise(4),
        "mean": held_out.mean(0)[None].expand(4, *[-1] * 4),
    }
    report, pairs = search_training(made, held_out, training, MEAN, LENGTH)
    assert report["copies"]["verdict"] == "copied" and report["copies"]["close"] == 4
    assert report["copies"]["sentence"].startswith("Copied: 4 of 4 samples")
    assert report["noise"]["verdict"] == "made" and report["noise"]["sentence"].startswith("Made, not copied: 0 of 4")
    assert report["mean"]["verdict"] == "made"  # smooth, but no copy
    for number, sample in enumerate(report["copies"]["samples"]):
        assert {window["shot"] for window in sample["windows"]} == {training[number].id}
    sample, original = pairs["copies"]
    assert 0 < (sample - original).abs().max() <= 0.1 + 1e-6


def test_a_video_of_windows_from_several_shots_is_a_copy_too(shots):
    parts = [videos([shot], range(3 + 4 * n, 7 + 4 * n)) for n, shot in enumerate(shots[:3])]
    report, _ = search_training({"joined": torch.cat(parts, 2)}, videos(shots[4:]), shots[:4], MEAN, LENGTH)
    (sample,) = report["joined"]["samples"]
    assert sample["distance"] == pytest.approx(0, abs=1e-4)
    assert [window["shot"] for window in sample["windows"]] == [shot.id for shot in shots[:3]]


def test_held_out_videos_are_rarely_called_copied():
    """Distances of one distribution on both sides: at most 5 % of the time."""
    rng = np.random.default_rng(0)
    sets = [np.stack([rng.lognormal(0, 0.7, (2, 16)), np.full((2, 16), np.inf)], 1) for _ in range(400)]
    verdicts = [copied_or_made({"held out": a}, b)["held out"]["verdict"] for a, b in sets]
    assert verdicts.count("copied") <= 0.05 * 400


def test_one_copy_among_samples_is_something_to_look_at():
    usual = np.stack([np.linspace(0.9, 1.1, 16), np.ones(16)])
    one = usual.copy()
    one[0, 0] = 0.01
    found = copied_or_made({"one": one}, usual)["one"]
    assert (found["close"], found["verdict"]) == (1, "unclear") and "look" in found["sentence"]


def test_grey_samples_are_no_copies_of_a_faded_video():
    """Near to it only because it is near to the mean frame; a copy of it is nearer than that."""
    usual, faded = np.ones((2, 8)), np.full(8, 0.01)
    made = {"grey": np.stack([faded, faded]), "copy": np.stack([faded / 10, faded])}
    found = copied_or_made(made, usual)
    assert (found["grey"]["verdict"], found["copy"]["verdict"]) == ("made", "copied")


def test_without_a_training_video_that_can_be_read_nothing_is_said(shots, tmp_path, caplog):
    gone = [replace(shot, root=tmp_path) for shot in shots[:2]]
    assert search_training({"noise": noise(2)}, videos(shots[4:]), gone, MEAN, LENGTH) == ({}, {})
    assert caplog.text.count("left out") == 2
    assert search_training({"noise": noise(2)}, videos(shots[4:]), [], MEAN, LENGTH) == ({}, {})
    assert search_training({"short": noise(2)[:, :, :3]}, videos(shots[4:]), shots[:4], MEAN, LENGTH) == ({}, {})
