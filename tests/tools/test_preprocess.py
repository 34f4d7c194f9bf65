import subprocess
import sys
from pathlib import Path

from vidboot.data import load_manifest

ROOT = Path(__file__).parents[2]


def preprocess(*arguments):
    command = [sys.executable, str(ROOT / "tools/preprocess.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_the_bundled_trailer_becomes_shots_and_a_table(tmp_path):
    settings = ["height=36", "width=64", "views.clip_frames=8", "views.full_frames=32", "workers=1"]
    (tmp_path / "words.mp4").write_text("no pictures\n" * 100)
    trailer = ROOT / "tests/data/big_buck_bunny_trailer.mp4"
    result = preprocess(trailer, tmp_path / "words.mp4", "--output", tmp_path / "out", *settings)
    assert result.returncode == 0, result.stderr
    assert "storing" in result.stdout and "100%" in result.stdout
    assert "low_res" in result.stdout and "not a video" in result.stdout
    manifest = load_manifest(tmp_path / "out")
    assert 6 <= len(manifest.supplying("full")) <= len(manifest) <= 12
    assert f"{len(manifest)} shots" in result.stdout


def test_mistakes_are_messages_and_not_tracebacks(tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ([tmp_path / "none.mp4", "--output", tmp_path / "out"], "there is no file or folder"),
        ([tmp_path / "empty", "--output", tmp_path / "out"], "empty folder"),
        ([tmp_path / "empty", "--output", tmp_path / "out", "heigth=3"], "did you mean 'height'"),
        ([tmp_path / "empty", "--output", tmp_path / "out", "--config", tmp_path / "no.yaml"], "no config file"),
        ([tmp_path / "empty", "--output", tmp_path / "out", "--preview", 0], "--preview is at least 1"),
        ([tmp_path / "empty", "--output", tmp_path / "out", f"masks={'x' * 300}"], "masks"),
        (["nowhere://host/a.mp4?id=3", "--output", tmp_path / "out"], "nowhere://host/a.mp4?id=3 can't be reached"),
        (
            [tmp_path / "empty", "--output", "nowhere://host/out"],
            "can't write to nowhere://host/out (Protocol",
        ),
        ([f"{'x' * 300}.mp4", "--output", tmp_path / "out"], "there is no file or folder"),
    ]:
        result = preprocess(*arguments)
        assert result.returncode == 2, result.stdout
        assert message in result.stderr and "Traceback" not in result.stderr
