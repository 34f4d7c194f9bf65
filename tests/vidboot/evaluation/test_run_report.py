import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_model import SETTINGS, small_model

from vidboot.config import RunConfig
from vidboot.data.datasets import to_tensor
from vidboot.data.manifest import load_manifest
from vidboot.errors import UserError
from vidboot.evaluation import features as feature_module
from vidboot.evaluation import held_out_errors as module
from vidboot.evaluation.features import FeatureNetwork, own_features
from vidboot.evaluation.held_out_data import HeldOutData, held_out_data, training_videos
from vidboot.evaluation.held_out_errors import error_intervals, error_ratios, errors_by_shot
from vidboot.evaluation.run_page import error_cell, statistics_cells, statistics_titles
from vidboot.evaluation.run_report import _finite
from vidboot.evaluation.statistics import autocorrelation, seam_ratio
from vidboot.evaluation.video_statistics import REAL, measure_statistics
from vidboot.experiments.digits import write_digits
from vidboot.settings import check_settings

CONFIG = small_model().config
FEATURES = FeatureNetwork(lambda x: x.flatten(1)[:, :5], 4, "the first values")


def noise(count, frames, seed=0):
    return torch.rand(count, 3, frames, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def data_of(videos, of_shot=()):
    shots = tuple(map(int, of_shot))
    return HeldOutData((), (), videos, videos, videos.mean((0, 2))[:, None], shots, tuple(range(len(videos))))


def statistics_of(real, **made):
    configs = dict.fromkeys((REAL, *made), CONFIG)
    return measure_statistics({REAL: real} | made, data_of(real), configs, FEATURES)


def test_cells_stand_under_their_lags_where_videos_are_shorter():
    found = statistics_of(noise(3, 12), short=noise(3, 6, 1), tiny=noise(3, 3, 2))
    lags = list(found[REAL]["autocorrelation_error"])
    assert lags == ["1", "2", "3", "6"]
    titles = statistics_titles(lags)
    for name, there in (("short", 3), ("tiny", 2)):
        cells = statistics_cells(found[name], lags)
        assert len(cells) == len(titles)
        errors = found[name]["autocorrelation_error"]
        assert cells[3:7] == [f"{errors[lag]:.3f}" for lag in lags[:there]] + ["–"] * (4 - there)
    assert (
        statistics_cells(_finite(found["tiny"]), lags)[0] == "–"
    )  # three frames are too few for the features' windows of four


def test_what_is_not_finite_is_null_in_the_report_and_no_interval_in_its_tables():
    errors = error_intervals(errors_by_shot(lambda x, sigma: x, data_of(noise(2, 12), [0, 0]), CONFIG))
    still = statistics_of(torch.zeros(2, 3, 12, 8, 8))  # divides zero by zero
    stored = json.loads(
        json.dumps(_finite({"denoising": errors, "statistics": still}), allow_nan=False),
        parse_constant=lambda word: pytest.fail(word),
    )
    assert stored["denoising"][0]["low"] is None
    assert error_cell(stored["denoising"][0]) == f"{errors[0]['mean']:.4f}"
    assert "nan" not in " ".join(statistics_cells(stored["statistics"][REAL], ["1", "2"]))


def test_intervals_cover_the_truth_when_the_windows_of_a_shot_are_alike(monkeypatch):
    """4 shots of 8 windows: errors are gamma of mean 1, the same for all windows of a shot, times 1 ± 0.1 for each."""
    rng, covered, trials = np.random.default_rng(0), 0, 1000
    data = data_of(torch.zeros(32, 3, 1, 1, 1), np.repeat(range(4), 8))
    for _ in range(trials):
        values = np.repeat(rng.gamma(4, 1 / 4, 4), 8) * (1 + 0.1 * rng.normal(size=32))
        monkeypatch.setattr(module, "denoising_errors", lambda *_, values=values, **__: torch.tensor(values)[None])
        (interval,) = error_intervals(errors_by_shot(lambda x, sigma: x, data, CONFIG))
        assert interval["low"] > 0
        covered += interval["low"] <= 1 <= interval["high"]
    assert 0.93 <= covered / trials <= 0.97


def test_models_that_differ_less_than_shots_do_are_told_apart():
    """Errors of shots differ ten-fold; on each of them the second model's is 2 % smaller, ± 0.5 %."""
    rng = np.random.default_rng(0)
    first = np.geomspace(0.01, 0.1, 8)[None]
    second = first * 0.98 * (1 + 0.005 * rng.standard_normal(first.shape))
    (ratio,) = error_ratios({"base": first, "whole": second})["whole"]
    assert ratio["low"] < 0.98 < ratio["high"] < 1 and ratio["low"] > 0.96
    alone, beside = (error_intervals(errors)[0] for errors in (first, second))
    assert alone["low"] < beside["mean"] < alone["high"]


@pytest.fixture
def run(tmp_path):
    """A folder of digits, and a run's split of them: two shots to train on, one to choose by, the rest to report on."""
    write_digits(tmp_path / "data", full=6, clips=1, low_res=0, num_frames=24, clip_frames=4, size=16)
    manifest = load_manifest(tmp_path / "data")
    ids = [shot.id for shot in manifest.supplying("full")]

    def split(folder, train, validation):
        (tmp_path / folder).mkdir(exist_ok=True)
        parts = {"train": [ids[n] for n in train], "validation": [ids[n] for n in validation]}
        (tmp_path / folder / "split.json").write_text(json.dumps({"fps": 24.0} | parts))
        return tmp_path / folder

    split("run", [0, 1], [2])
    return manifest, ids, split


def small(**groups):
    video = {"num_frames": 12, "height": 16, "width": 16, "overlap": 4}
    return check_settings(RunConfig, SETTINGS | {"video": video} | groups, "settings")


def test_what_a_baseline_has_seen_is_not_reported_on(run, tmp_path):
    manifest, ids, split = run
    alone = held_out_data(tmp_path / "run", manifest, small())
    assert {shot.id for shot in alone.test} == set(ids[3:])
    assert len(alone.videos) == 6 and sorted(alone.of_shot) == [0, 0, 1, 1, 2, 2]
    firsts = [alone.real[alone.real_of_shot.index(shot)] for shot in dict.fromkeys(alone.real_of_shot)]
    assert len(firsts) == 3 and torch.equal(alone.independent, torch.stack(firsts))
    assert {shot.id for shot in alone.seen} == set(ids[:2])
    beside = held_out_data(tmp_path / "run", manifest, small(), (split("other", [3], [4]), split("more", [0], [])))
    assert [shot.id for shot in beside.test] == [ids[5]]
    assert {shot.id for shot in beside.seen} == {ids[0], ids[1], ids[3]}
    assert set(beside.of_shot) == {0} and len(beside.videos) == 2
    with pytest.raises(UserError, match="baselines have trained on all of"):
        held_out_data(tmp_path / "run", manifest, small(), (split("all", [3, 4], [5]),))


def test_statistics_are_against_as_many_real_videos_as_are_made(run, tmp_path):
    manifest, *_ = run
    config = small(evaluation={"num_videos": 2})
    few, more, all_there_are = (held_out_data(tmp_path / "run", manifest, config, (), n) for n in (2, 4, 99))
    assert [len(data.real) for data in (few, more, all_there_are)] == [2, 4, 6]
    # The number of videos for the denoising errors is still that of the run's configuration.
    assert torch.equal(few.real, few.videos) and torch.equal(more.videos, few.videos)
    with_more = measure_statistics({REAL: few.real}, all_there_are, {REAL: CONFIG}, FEATURES)
    reference = autocorrelation(all_there_are.real, all_there_are.mean, [1])[1]
    own = autocorrelation(few.real, all_there_are.mean, [1])[1]
    assert with_more[REAL]["autocorrelation_error"]["1"] == pytest.approx(abs(own - reference)) and own != reference


def test_other_shots_of_a_file_that_was_trained_on_are_not_reported_on(run, tmp_path):
    manifest, ids, _ = run
    full = manifest.supplying("full")
    record = {"fps": 24.0, "train": [ids[0]], "validation": [], "test": [ids[1]]}
    # The file of the third and of the second shot, of which the second is held out all the same.
    record["sources"] = [full[2].source, full[1].source]
    (tmp_path / "run" / "split.json").write_text(json.dumps(record))
    assert len({shot.source for shot in full}) == 6
    found = held_out_data(tmp_path / "run", manifest, small())
    assert {shot.id for shot in found.test} == {ids[1], *ids[3:]}


def test_a_folder_that_does_not_say_what_was_trained_on_holds_nothing_out(run, tmp_path):
    manifest, _, split = run
    saved = split("saved", [], [])
    (saved / "split.json").write_text('{"fps": 24.0}')  # as `vidboot.model.run_folder.save` writes it
    for folder, baselines in ((saved, ()), (tmp_path / "run", (saved,))):
        with pytest.raises(UserError, match="doesn't say which videos the run was trained on"):
            held_out_data(folder, manifest, small(), baselines)


def test_the_training_videos_beside_samples_are_full_ones(tmp_path):
    write_digits(tmp_path, full=2, clips=3, low_res=9, num_frames=12, clip_frames=4, size=16)
    manifest = load_manifest(tmp_path)
    data = replace(data_of(noise(1, 12)), train=tuple(manifest))
    found = training_videos(data, small(), 8)
    expected = torch.stack([to_tensor(shot.frames()) for shot in manifest.supplying("full")])
    torch.testing.assert_close(found, expected)
    only_low = replace(data, train=tuple(shot for shot in manifest if "full" not in shot.views))
    assert max(shot.num_frames for shot in only_low.train) == 12
    assert training_videos(only_low, small(), 8) is None


def test_the_feature_network_is_that_of_the_run_as_it_is_now(run, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_module, "STEPS", 1)
    manifest, _, split = run
    longer = small(clip={**SETTINGS["clip"], "num_frames": 10})
    path = tmp_path / "run" / "features.safetensors"

    def made(config, shots=manifest):
        own_features(tmp_path / "run", config, shots)
        return {name: tensor.clone() for name, tensor in load_file(path).items()}

    first = made(small())
    again = made(small(), shots=())  # stored, so it is not trained again and needs no shots
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert made(longer)["narrow.weight"].shape == (32, 2 * first["narrow.weight"].shape[1])  # 4 → 1, 10 → 2 frames
    assert own_features(tmp_path / "run", longer, ()).num_frames == 10
    split("run", [1], [2])
    with pytest.raises(UserError, match="no training clip"):
        own_features(tmp_path / "run", longer, ())


def test_seams_are_looked_for_where_the_runs_own_windows_meet():
    """Jumps at the borders of windows of 4 that share 2 frames; for a run with windows of 6 they are no seams."""
    videos = noise(2, 12)
    videos[:, :, 4:] += 3
    other = small(clip={**SETTINGS["clip"], "num_frames": 6, "overlap": 1})
    configs = {REAL: CONFIG, "baseline": other}
    found = measure_statistics({REAL: videos, "baseline": videos}, data_of(videos), configs, FEATURES)
    # Windows 0–5, 5–10 and 6–11: these frames are the first of a window, or follow the last of one.
    assert found["baseline"]["seam_ratio"] == pytest.approx(seam_ratio(videos, [5, 6, 11]))
    assert found[REAL]["seam_ratio"] == pytest.approx(seam_ratio(videos, [2, 4, 6, 8, 10]))
    assert found[REAL]["seam_ratio"] > 1 > found["baseline"]["seam_ratio"]
