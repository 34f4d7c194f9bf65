from pathlib import Path

import pytest

from vidboot.config import RunConfig
from vidboot.errors import UserError
from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.model.video_model import residual_network, view_network
from vidboot.settings import load_settings

CONFIGS = Path(__file__).parents[2] / "configs"
REST = "network: {}, train: {steps: 1, batch_size: 1}"


@pytest.mark.parametrize("name", ["quickstart", "one_gpu", "long_video", "cluster"])
def test_shipped_configs_validate_and_build_their_networks(name):
    config = load_settings(RunConfig, CONFIGS / f"{name}.yaml")
    for view in config.views.values():
        assert sum(p.numel() for p in view_network(config, view).parameters()) > 0
    assert residual_network(config).network.temporal_reach >= config.video.num_frames - 1


def test_the_benchmarks_configs_validate():
    bench = CONFIGS.parent / "tests" / "bench"
    assert load_settings(RunConfig, bench / "digits.yaml").clip.full_length.scale == 2
    assert load_settings(CurveConfig, bench / "footage.yaml").run.clip.full_length.share == 0.2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("clip.overlap=8", "overlap must be below num_frames"),
        ("clip.full_length={share: 1.0, scale: 2}", "less than 1"),
        ("clip.num_frames=33", "at most video.num_frames"),
        ("video.overlap=32", "overlap must be below num_frames"),
        ("video.height=38", "use 36 or 40"),
        ("low_res.0.scale=1", "greater than or equal to 2"),
        (
            f"low_res=[{{scale: 2, {REST}}}, {{scale: 4, {REST}}}]",
            "factor 4 adds nothing to factor 2",
        ),
        ("noise.sigma_min=80.0", "sigma_min must be below sigma_max"),
        ("clip.train.learning_rate=.inf", "finite"),
        ("evaluation.sigmas=[1.0,2.0,1.0]", "each noise level once"),
        ("noise.sigma_max=-1", "greater than 0"),
        ("data.frame_strides=[2,4]", "1 must be among them"),
        ("deepspeed.precision=fp16", "'fp32' or 'bf16'"),
        ("residual.train.ema_decay=1.0", "less than 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(override, says):
    with pytest.raises(UserError, match=says):
        load_settings(RunConfig, CONFIGS / "quickstart.yaml", [override])


def test_muon_needs_whole_matrices():
    settings = ["residual.train.optimizer=muon", "deepspeed.zero_optimization.stage=1"]
    with pytest.raises(UserError, match="muon needs whole matrices: set"):
        load_settings(RunConfig, CONFIGS / "long_video.yaml", settings)
    for works in ([*settings[:1], "deepspeed.zero_optimization.stage=0"], settings[1:]):
        load_settings(RunConfig, CONFIGS / "long_video.yaml", works)


def test_a_share_of_long_videos_needs_to_know_how_low_their_resolution_is():
    def load(*overrides):
        return load_settings(RunConfig, CONFIGS / "quickstart.yaml", overrides)

    assert load("clip.full_length={share: 0.2, scale: 2}").clip.full_length.scale == 2
    assert load("clip.full_length={share: 0.2, scale: 4}", "low_res=[]").clip.full_length.scale == 4
    for wrong, says in [
        ("clip.full_length={share: 0.2}", "clip.full_length.scale: missing"),
        ("clip.full_length={share: 0, scale: 2}", "greater than 0"),
        ("clip.full_length={share: 0.2, scale: 5}", "multiple of 5"),
    ]:
        with pytest.raises(UserError, match=says):
            load(wrong)


def test_what_a_view_starts_from_is_a_path_or_a_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    settings = ["clip.start_from=~/runs/a", "low_res.0.start_from=lab/model"]
    config = load_settings(RunConfig, CONFIGS / "quickstart.yaml", settings)
    assert [view.start_from for view in config.views.values()] == ["/home/me/runs/a", "lab/model"]
    with pytest.raises(UserError, match=r"clip\.start_from: .*at least 1 character"):
        load_settings(RunConfig, CONFIGS / "quickstart.yaml", ["clip.start_from=''"])
