import cv2
import numpy as np

from data_prep.analysis import mean_maps
from data_prep.overlays.pooling import pooled_overlay
from data_prep.overlays.static_edges import OverlayFinder


def still_camera(seed):
    """The view of a static camera, with edges everywhere."""
    coarse = np.random.default_rng(seed).integers(0, 200, (45, 80), dtype=np.uint8)
    return cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_LINEAR)


def maps_of(folder, views):
    """Files with the mean maps of videos, each of a static camera."""
    files = []
    for number, view in enumerate(views):
        finder = OverlayFinder(360, 640)
        generator = np.random.default_rng(number)
        for _ in range(16):
            finder.feed(np.clip(view + generator.normal(0, 2, view.shape), 0, 255).astype(np.uint8))
        assert not finder.sums.moving()
        files.append(folder / f"{number}.npz")
        np.savez(files[-1], **mean_maps(finder.sums))
    return files


def pool(folder, views):
    """The overlay that is found in all views together."""
    return pooled_overlay(maps_of(folder, views))


def with_logo(view):
    logo = np.zeros(view.shape, np.uint8)
    cv2.putText(logo, "NEWS", (520, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
    return np.where(logo > 0, 0.55 * view + 0.45 * 255, view), logo > 0


def test_a_logo_that_six_still_cameras_share_is_found_and_nothing_else(tmp_path):
    views = [with_logo(still_camera(seed))[0] for seed in range(6)]
    logo = with_logo(still_camera(0))[1]
    covered = pool(tmp_path, views)
    assert (logo & ~covered).sum() <= 0.15 * logo.sum() and (covered & ~logo).mean() < 0.01


def test_six_clean_still_cameras_stay_untouched(tmp_path):
    assert not pool(tmp_path, [still_camera(seed) for seed in range(6)]).any()


def test_too_few_videos_or_one_scene_six_times_tell_nothing(tmp_path):
    assert pool(tmp_path, [still_camera(seed) for seed in range(5)]) is None
    assert pool(tmp_path, [still_camera(0)] * 6) is None


def test_a_damaged_file_of_maps_is_left_out(tmp_path):
    files = maps_of(tmp_path, [with_logo(still_camera(seed))[0] for seed in range(7)])
    files[0].write_bytes(b"")
    files[6].write_bytes(files[6].read_bytes()[:-400])
    assert pooled_overlay(files) is None
    assert np.array_equal(pooled_overlay([files[0], *files[1:6], files[1]]), pooled_overlay([*files[1:6], files[1]]))
