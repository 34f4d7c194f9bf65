import itertools

import numpy as np
import pytest

from vidboot.data.manifest import load_manifest
from vidboot.experiments.digits import Motion, digit_images, digit_video, write_digits


def closed(frames_THWC):
    """Frames that show the curtain alone: one grey level all over."""
    return frames_THWC.reshape(len(frames_THWC), -1).std(1) == 0


def runs(flags):
    """Lengths of the runs of True that neither begin nor end at the border."""
    edges = np.flatnonzero(np.diff(flags.astype(int)))
    spans = [(a + 1, b) for a, b in itertools.pairwise(edges)]
    return [end - start + 1 for start, end in spans if flags[start]]


def test_the_same_seed_is_the_same_video_and_a_longer_one_differs_in_length_only():
    assert np.array_equal(digit_video(7), digit_video(7))
    assert not np.array_equal(digit_video(7), digit_video(8))
    assert digit_video(7, num_frames=5, size=32).shape == (5, 32, 32, 3)


def test_the_curtain_hides_the_digit_for_longer_than_a_clip():
    lengths = [n for seed in range(8) for n in runs(closed(digit_video(seed, 200)))]
    assert len(lengths) > 30
    assert {11, 12, 13} == set(lengths)


def test_the_curtain_is_closed_for_as_long_as_is_asked():
    assert {3, 4} == {
        n for seed in range(8) for n in runs(closed(digit_video(seed, 200, motion=Motion(closed=(3, 4)))))
    }


def test_behind_the_curtain_the_digit_goes_on_moving_and_comes_back_the_same():
    """What is seen after the curtain continues the path that was seen before it: the two never differ by a digit."""
    video = digit_video(3, 64)[..., 0].astype(float)
    # Fully open frames have the dark background at the right border, where the curtain arrives last.
    still = [t for t in range(64) if (video[t, :, 0] < 60).any() and not closed(video[t : t + 1])[0]]
    masses = [((video[t] - video[t].min()) / video[t].min()).sum() for t in still if (video[t, :, :3] < 60).all()]
    assert np.ptp(masses) < 0.1 * np.mean(masses)


def test_light_changes_slowly():
    video = digit_video(0, 400)
    shut = closed(video)
    grey = video[:, 0, 0, 0].astype(int)
    assert grey[shut].max() / grey[shut].min() > 1.3
    assert np.abs(np.diff(grey))[shut[1:] & shut[:-1]].max() <= 3


def test_train_and_test_digits_are_disjoint():
    images = digit_images()
    train, test = ({i.tobytes() for i in images[split]} for split in ("train", "test"))
    assert not train & test
    assert len(images["train"]) + len(images["test"]) == 1797


def test_the_folder_reads_back_exactly_and_low_res_videos_have_no_detail(tmp_path):
    write_digits(tmp_path, full=2, clips=3, low_res=2, num_frames=20)
    manifest = load_manifest(tmp_path)
    assert [len(manifest.supplying(view)) for view in ("full", "clip", "low_res")] == [2, 5, 4]
    assert np.array_equal(manifest.supplying("full")[1].frames(), digit_video((0, 0, 1), 20))
    assert {shot.num_frames for shot in manifest if "full" not in shot.views and "clip" in shot.views} == {8}
    low = next(shot for shot in manifest if shot.views == {"low_res"}).frames()
    blocks = low.reshape(20, 12, 2, 12, 2, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all()
    assert len({shot.id for shot in manifest}) == 7


def test_subtitled_videos_differ_from_clean_ones_under_their_masks_only(tmp_path):
    for folder, share in (("clean", 0.0), ("subtitled", 0.5)):
        write_digits(tmp_path / folder, full=2, clips=6, low_res=4, num_frames=12, subtitled=share)
    clean, subtitled = (load_manifest(tmp_path / folder) for folder in ("clean", "subtitled"))
    masked = 0
    for a, b in zip(clean, subtitled, strict=True):
        assert (a.path, a.verdict) == (b.path, "clean")
        mask, differs = b.mask(), (a.frames() != b.frames()).any(-1)
        assert (b.verdict == "masked") == (not mask.all()) == bool(differs.any())
        assert not (differs & mask).any()
        if b.verdict == "masked":
            masked += 1
            assert differs[~mask].mean() > 0.2
            assert 0.05 < (~mask).mean() < 0.45
        if b.views == {"low_res"}:
            blocks = mask.reshape(12, 12, 2, 12, 2)
            assert (blocks == blocks[:, :, :1, :, :1]).all()
    assert masked == (6 + 4) // 2
    assert all(shot.verdict == "clean" for shot in subtitled.supplying("full"))


def test_too_small_pictures_are_refused():
    with pytest.raises(ValueError, match="16 pixels"):
        digit_video(0, size=12)
