"""Ray gives the same results as the local pool."""

import pytest
from footage import results, titled_films

from data_prep.config import Preprocess
from data_prep.run import preprocess


@pytest.mark.slow
def test_ray_gives_the_local_pools_manifest_masks_and_shots(tmp_path):
    pytest.importorskip("ray")
    films = tmp_path / "films"
    titled_films(films, 6)
    (films / "broken.mp4").write_bytes((films / "film0.mp4").read_bytes()[:5000])
    settings = Preprocess(height=36, width=64, workers=2, text={"detector": "opencv"})
    local = preprocess([films], tmp_path / "local", settings)
    remote = preprocess([films], tmp_path / "ray", settings, "ray")
    wanted = results(tmp_path / "local")
    assert results(tmp_path / "ray") == wanted
    assert "manifest.parquet" in wanted and any(name.startswith("masks/") for name in wanted)
    assert remote.set_aside == local.set_aside and len(local.set_aside) >= 1
