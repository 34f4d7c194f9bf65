import cv2
import numpy as np

from data_prep.analysis import mean_maps
from data_prep.overlays.pooling import packed_maps, pooled_overlay
from data_prep.overlays.static_edges import OverlayFinder


def still_camera(seed):
    """The view of a static camera, with edges everywhere."""
    coarse = np.random.default_rng(seed).integers(0, 200, (45, 80), dtype=np.uint8)
    return cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_LINEAR)


def maps_of(views):
    """The packed mean maps of videos, each of a static camera."""
    packs = []
    for number, view in enumerate(views):
        finder = OverlayFinder(360, 640)
        generator = np.random.default_rng(number)
        for _ in range(16):
            finder.feed(np.clip(view + generator.normal(0, 2, view.shape), 0, 255).astype(np.uint8))
        assert not finder.sums.moving()
        packs.append(packed_maps(mean_maps(finder.sums)))
    return packs


def pool(views):
    """The overlay that is found in all views together."""
    return pooled_overlay(maps_of(views))


def with_logo(view):
    logo = np.zeros(view.shape, np.uint8)
    cv2.putText(logo, "NEWS", (520, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
    return np.where(logo > 0, 0.55 * view + 0.45 * 255, view), logo > 0


def test_a_logo_that_six_still_cameras_share_is_found_and_nothing_else():
    views = [with_logo(still_camera(seed))[0] for seed in range(6)]
    logo = with_logo(still_camera(0))[1]
    covered = pool(views)
    assert (logo & ~covered).sum() <= 0.15 * logo.sum() and (covered & ~logo).mean() < 0.01


def test_six_clean_still_cameras_stay_untouched():
    assert not pool([still_camera(seed) for seed in range(6)]).any()


def test_too_few_videos_or_one_scene_six_times_tell_nothing():
    assert pool([still_camera(seed) for seed in range(5)]) is None
    assert pool([still_camera(0)] * 6) is None


def test_damaged_maps_are_left_out():
    packs = maps_of([with_logo(still_camera(seed))[0] for seed in range(7)])
    assert pooled_overlay(packs[1:]) is not None
    assert pooled_overlay([b"", *packs[1:6], packs[6][:-400]]) is None
    assert np.array_equal(pooled_overlay([b"", *packs[1:6], packs[1]]), pooled_overlay([*packs[1:6], packs[1]]))
