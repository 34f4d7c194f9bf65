"""Ray does the same work as the local pool."""

from pathlib import Path

import pytest
from footage import titled_films

from data_prep.config import Preprocess
from data_prep.run import preprocess


def kept(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.suffix in (".parquet", ".npz", ".mp4", ".html")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.slow
def test_ray_gives_the_local_pools_manifest_masks_and_shots(tmp_path):
    pytest.importorskip("ray")
    films = tmp_path / "films"
    titled_films(films, 6)
    (films / "broken.mp4").write_bytes((films / "film0.mp4").read_bytes()[:5000])
    settings = Preprocess(height=36, width=64, workers=2, text={"detector": "opencv"})
    local = preprocess([films], tmp_path / "local", settings)
    remote = preprocess([films], tmp_path / "ray", settings, "ray")
    wanted = kept(tmp_path / "local")
    assert kept(tmp_path / "ray") == wanted
    assert "manifest.parquet" in wanted and any(name.startswith("masks/") for name in wanted)
    assert remote.set_aside == local.set_aside and len(local.set_aside) >= 1
