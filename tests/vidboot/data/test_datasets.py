import json
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from vidboot.data import Manifest, MaskTrack, load_manifest
from vidboot.data.config import DataConfig
from vidboot.data.datasets import (
    LentMasks,
    ViewDataset,
    Windows,
    held_out_spans,
    held_out_windows,
    load_clip,
    mean_image,
    to_frames,
    to_tensor,
)
from vidboot.data.manifest import Shot
from vidboot.data.masks import Event
from vidboot.data.set_aside import SetAside
from vidboot.data.split import split_like, split_shots
from vidboot.errors import UserError

OPTIONS = DataConfig(manifest="unused")


@pytest.fixture
def manifest(manifest_dir):
    """The trailer's shots without their masks: tests of masks add their own."""
    found = load_manifest(manifest_dir)
    return Manifest(found.root, [replace(shot, mask_path=None) for shot in found])


def test_a_sample_is_the_same_whenever_it_is_asked_for(manifest):
    dataset = ViewDataset(manifest, {4: 1.0, 2: 1.0}, seed=3, batch_size=4, options=OPTIONS)
    again = ViewDataset(manifest, {4: 1.0, 2: 1.0}, seed=3, batch_size=4, options=OPTIONS)
    later = [again[i] for i in (9, 5, 2)]
    for i, sample in zip((9, 5, 2), later, strict=True):
        assert torch.equal(dataset[i]["frames"], sample["frames"])
        assert dataset[i]["seed"] == sample["seed"]
    other = ViewDataset(manifest, {4: 1.0, 2: 1.0}, seed=4, batch_size=4, options=OPTIONS)
    assert any(other[i]["seed"] != dataset[i]["seed"] for i in range(4))


def test_batches_are_rectangular_and_use_every_frame_count(manifest):
    dataset = ViewDataset(manifest, {4: 1.0, 2: 1.0}, seed=0, batch_size=3, options=OPTIONS)
    lengths = [[dataset[3 * step + i]["frames"].shape[0] for i in range(3)] for step in range(12)]
    assert all(len(set(batch)) == 1 for batch in lengths)
    assert {batch[0] for batch in lengths} == {2, 4}


def test_every_window_is_equally_likely(manifest):
    shots = [replace(manifest[0], num_frames=10, id="a"), replace(manifest[1], num_frames=6, id="b")]
    dataset = ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=OPTIONS)
    rng = np.random.default_rng(0)
    windows = Windows(dataset.shots, 4, 1)
    draws = [windows.draw(rng) for _ in range(5000)]
    seen = Counter((shot.id, frames.start) for shot, frames in draws)
    assert sorted(seen) == [("a", t) for t in range(7)] + [("b", t) for t in range(3)]
    assert min(seen.values()) > 400  # 500 expected


def test_samples_are_the_stored_frames_pooled(manifest):
    shot = manifest[0]
    video, mask = load_clip(shot, range(3, 7), 2)
    frames = shot.frames(range(3, 7)).astype(np.float64)
    pooled = frames.reshape(4, 4, 2, 8, 2, 3).mean(axis=(2, 4)) / 127.5 - 1
    np.testing.assert_allclose(video.permute(1, 2, 3, 0).numpy(), pooled, atol=1e-5)
    assert mask.all()
    assert mask.shape == (1, 4, 4, 8)


def test_a_low_res_pixel_is_observed_only_if_all_its_pixels_are(manifest, monkeypatch):
    shot = manifest[0]
    mask = np.random.default_rng(0).random((2, 8, 16)) < 0.8
    monkeypatch.setattr(type(shot), "mask", lambda self, indices: mask)
    _, pooled = load_clip(shot, range(2), 2)
    brute = [
        [[mask[t, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].all() for j in range(8)] for i in range(4)] for t in range(2)
    ]
    assert pooled[0].tolist() == np.array(brute).tolist()


def test_frames_survive_the_round_trip():
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    assert np.array_equal(to_frames(to_tensor(frames)), frames)
    assert to_frames(torch.tensor([-3.0, 3.0]).reshape(1, 2, 1, 1)).ravel().tolist() == [0, 255]


def test_an_unreadable_shot_is_named_once_and_replaced(manifest, caplog):
    gone = replace(manifest[0], path="absent.mp4")
    dataset = ViewDataset([gone, manifest[1]], {4: 1.0}, seed=0, batch_size=1, options=OPTIONS)
    with caplog.at_level(logging.WARNING):
        shots = {dataset[i]["shot"] for i in range(20)}
    assert shots == {manifest[1].path}
    assert len([record for record in caplog.records if "absent.mp4" in record.getMessage()]) == 1
    with pytest.raises(UserError, match="no readable shot of 4 frames"):
        ViewDataset([gone], {4: 1.0}, seed=0, batch_size=1, options=OPTIONS)[0]


def test_samples_do_not_depend_on_when_a_shot_was_found_unreadable(manifest):
    gone = replace(manifest[0], path="absent.mp4")
    shots = [gone, manifest[1], manifest[2]]
    first = ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=OPTIONS)
    in_order = [first[i]["seed"] for i in range(20)]
    for i in range(20):  # each by a dataset that has found nothing yet
        assert ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=OPTIONS)[i]["seed"] == in_order[i]


def test_processes_share_one_list_of_what_is_set_aside(manifest, tmp_path, caplog):
    gone = replace(manifest[0], path="absent.mp4")
    for _ in range(2):
        lent = LentMasks(manifest, SetAside(tmp_path))
        dataset = ViewDataset([gone, manifest[1]], {4: 1.0}, 0, 1, OPTIONS, lent)
        assert {dataset[i]["shot"] for i in range(20)} == {manifest[1].path}
    lines = [json.loads(line) for line in (tmp_path / "set_aside.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["absent.mp4"]
    assert len([record for record in caplog.records if "absent.mp4" in record.getMessage()]) == 1


def test_held_out_videos_that_cannot_be_read_are_left_out(manifest, caplog):
    gone = replace(manifest[0], path="absent.mp4")
    videos, _ = held_out_windows([gone, manifest[1]], 4, 1, limit=100)
    expected, _ = held_out_windows([manifest[1]], 4, 1, limit=100)
    assert torch.equal(videos, expected)
    assert "absent.mp4" in caplog.text
    assert torch.equal(mean_image([gone, manifest[1]]), mean_image([manifest[1]]))
    for measure in (lambda: held_out_windows([gone], 4, 1, limit=100), lambda: mean_image([gone])):
        with pytest.raises(UserError, match="read"):
            measure()


def test_the_split_is_disjoint_complete_and_independent_of_order(manifest):
    split = split_shots(manifest, 0.35)
    parts = [{shot.id for shot in part} for part in (split.train, split.validation, split.test)]
    assert set.union(*parts) == {shot.id for shot in manifest}
    assert sum(map(len, parts)) == len(manifest)
    assert all(parts)
    backwards = split_shots(Manifest(manifest.root, reversed(manifest.shots)), 0.35)
    assert {shot.id for shot in backwards.test} == parts[2]


def test_whole_sources_are_held_out_where_there_are_enough(manifest):
    shots = [replace(shot, source=f"s{i % 8}", id=f"{i:04d}{shot.id}") for i in range(3) for shot in manifest]
    shots = [replace(shot, source=f"s{i % 8}") for i, shot in enumerate(shots)]
    split = split_shots(Manifest(manifest.root, shots), 0.3)
    sources = [{shot.source for shot in part} for part in (split.train, split.validation, split.test)]
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])


def test_only_full_videos_stand_for_full_ones_and_nothing_of_a_held_out_source_is_trained_on(manifest):
    kinds = (frozenset({"full", "clip"}), frozenset({"low_res"}), frozenset({"clip"}))
    shots = [
        replace(manifest[0], source=f"s{n}", id=f"{n}{kind}", views=views)
        for n in range(12)
        for kind, views in enumerate(kinds)
    ]
    split = split_shots(Manifest(manifest.root, shots), 0.35)
    held_out = [*split.validation, *split.test]
    assert len(held_out) == 4
    assert all("full" in shot.views for shot in held_out)
    assert len(split.train) == 3 * 8
    assert not {shot.source for shot in split.train} & {shot.source for shot in held_out}


def test_without_any_full_video_some_of_each_kind_are_held_out(manifest):
    def shots(kind, count, sources):
        made = [replace(manifest[0], id=f"{kind}{n:02d}", source=f"{kind}{n % sources}") for n in range(count)]
        return [replace(shot, views=frozenset({kind})) for shot in made]

    for sources in (2, 20):
        split = split_shots(Manifest(manifest.root, shots("clip", 20, sources) + shots("low_res", 10, sources)), 0.3)
        for part, counts in ((split.train, (14, 6)), (split.validation, (3, 2)), (split.test, (3, 2))):
            assert Counter(view for shot in part for view in shot.views) == dict(
                zip(("clip", "low_res"), counts, strict=True)
            )
    lonely = split_shots(Manifest(manifest.root, shots("clip", 20, 20) + shots("low_res", 2, 2)), 0.3)
    assert len([shot for shot in lonely.train if "low_res" in shot.views]) == 2


@pytest.mark.parametrize("sources", [1, 30])
def test_with_more_videos_the_split_of_before_stays(manifest, sources):
    kinds = (frozenset({"full", "clip"}), frozenset({"low_res"}))
    shots = [
        replace(manifest[0], source=f"s{n % sources}", id=f"{n * 7919 % 31:02d}-{n}-{kind}", views=views)
        for n in range(30)
        for kind, views in enumerate(kinds)
    ]
    before = split_shots(Manifest(manifest.root, shots), 0.3)
    new = [replace(shot, id="0" + shot.id, source="new" + shot.source) for shot in shots]
    again = split_like(Manifest(manifest.root, new + shots), before.ids())
    assert (again.validation, again.test) == (before.validation, before.test)
    assert set(again.train) == {*before.train, *new}
    assert split_like(Manifest(manifest.root, shots), before.ids()) == before
    lacking = {
        part: ids for part, ids in before.ids().items() if part != "left_out"
    }  # as in split files of earlier versions
    assert split_like(Manifest(manifest.root, shots), lacking).train == before.train
    fewer = split_like(Manifest(manifest.root, [s for s in shots if s != before.test[0]]), before.ids())
    assert fewer.test == before.test[1:] and fewer.train == before.train


def test_too_few_videos_to_split_is_the_users_error(manifest):
    with pytest.raises(UserError, match=r"2 video\(s\)"):
        split_shots(Manifest(manifest.root, manifest.shots[:2]), 0.2)


def test_held_out_windows_do_not_overlap(manifest):
    videos, _ = held_out_windows(manifest.shots[:2], 12, 1, limit=1000)
    expected = [
        to_tensor(shot.frames(range(t, t + 12)))
        for shot in manifest.shots[:2]
        for t in range(0, shot.num_frames - 11, 12)
    ]
    assert torch.equal(videos, torch.stack(expected))
    assert len(held_out_windows(manifest.shots, 12, 1, limit=3)[0]) == 3
    with pytest.raises(UserError, match=r"no held-out shot has 5000 frames \(longest"):
        held_out_windows(manifest.shots, 5000, 1, limit=3)


def test_mean_image(manifest):
    expected = np.mean([s.frames([0, s.num_frames - 1]).mean(axis=0) for s in manifest.shots[:3]], axis=0) / 127.5 - 1
    np.testing.assert_allclose(mean_image(manifest.shots[:3], 2)[:, 0].permute(1, 2, 0), expected, atol=1e-5)


def test_a_window_of_another_stride_is_every_kth_frame(manifest):
    options = DataConfig(manifest="unused", frame_strides=[3, 1])
    dataset = ViewDataset(manifest.shots[:1], {4: 1.0}, seed=0, batch_size=1, options=options)
    frames = to_tensor(manifest[0].frames())
    for i in range(8):
        sample = dataset[i]
        windows = frames.unfold(1, 3 * sample["stride"] + 1, 1)[..., :: sample["stride"]]  # C n H W 4
        assert (windows.permute(1, 0, 4, 2, 3) == to_tensor(sample["frames"])).flatten(1).all(1).any()
    assert {dataset[i]["stride"] for i in range(20)} == {1, 3}


def test_the_first_held_out_window_is_found_without_reading_all_masks(manifest, tmp_path, monkeypatch):
    covered = np.ones((8, 16), bool)
    MaskTrack(8, 8, 16, [Event(0, 8, covered)]).save(tmp_path / "mask.npz")
    masked = [replace(shot, mask_path=str(tmp_path / "mask.npz"), num_frames=8) for shot in manifest[:3]]
    shots, read = [masked[0], *manifest, *masked[1:]], []
    mask = Shot.mask
    monkeypatch.setattr(Shot, "mask", lambda shot, frames=None: read.append(shot) or mask(shot, frames))
    every = held_out_spans(shots, 4, clean=True)
    assert len(read) == 6 and len(every) > 1
    read.clear()
    assert held_out_spans(shots, 4, clean=True, most=1) == every[:1]
    assert len(read) == 2  # the windows of the first shot
    with pytest.raises(UserError, match="no held-out shot has 4 frames without a masked pixel"):
        held_out_spans(masked, 4, clean=True, most=1)


def test_half_of_the_samples_are_mirrored_with_their_masks(manifest, tmp_path):
    track = MaskTrack(manifest[0].num_frames, 8, 16, [Event(0, manifest[0].num_frames, np.eye(8, 16) > 0)])
    track.save(tmp_path / "mask.npz")
    shot = replace(manifest[0], mask_path=str(tmp_path / "mask.npz"), num_frames=4)
    options = DataConfig(manifest="unused", horizontal_flip=True)
    dataset = ViewDataset([shot], {4: 1.0}, seed=0, batch_size=1, options=options)
    frames, covered = shot.frames(range(4)), np.eye(8, 16) > 0
    mirrored = 0
    for i in range(40):
        sample = dataset[i]
        flip = slice(None, None, -1) if not np.array_equal(sample["frames"], frames) else slice(None)
        assert np.array_equal(sample["frames"], frames[:, :, flip])
        assert np.array_equal(sample["observed_mask"][0].numpy(), np.broadcast_to(~covered[:, flip], (4, 8, 16)))
        assert torch.equal(sample["loss_mask"], sample["observed_mask"])  # burnt-in pixels are not part of the loss
        mirrored += flip.step == -1
    assert 10 < mirrored < 30


def test_a_share_of_clean_samples_gets_real_masks(manifest, tmp_path):
    covered = np.zeros((8, 16), bool)
    covered[6:, 4:12] = True
    track = MaskTrack(manifest[1].num_frames, 8, 16, [Event(0, manifest[1].num_frames, covered)])
    track.save(tmp_path / "mask.npz")
    shots = [manifest[0], replace(manifest[1], mask_path=str(tmp_path / "mask.npz"))]
    options = DataConfig(manifest="unused", extra_masks=0.5)
    dataset = ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=options)
    samples = [sample for sample in map(dataset.__getitem__, range(60)) if sample["shot"] == manifest[0].path]
    masks = [sample["observed_mask"] for sample in samples]
    assert all(sample["loss_mask"].all() for sample in samples)
    hidden = [mask for mask in masks if not mask.all()]
    assert all(torch.equal(mask, torch.from_numpy(~covered).expand(1, 4, 8, 16)) for mask in hidden)
    assert 0.2 < len(hidden) / len(masks) < 0.8


def test_a_share_of_the_samples_has_first_frames_or_all_but_a_mask_without_noise(manifest, tmp_path):
    covered = np.zeros((8, 16), bool)
    covered[6:, 4:12] = True
    track = MaskTrack(manifest[1].num_frames, 8, 16, [Event(0, manifest[1].num_frames, covered)])
    track.save(tmp_path / "mask.npz")
    shots = [manifest[0], replace(manifest[1], mask_path=str(tmp_path / "mask.npz"))]
    options = DataConfig(manifest="unused", context=0.5, extra_masks=0.3)
    dataset = ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=options)
    clean = torch.from_numpy(~covered).expand(1, 4, 8, 16)
    seen = Counter()
    for sample in map(dataset.__getitem__, range(400)):
        mask, context = sample["observed_mask"], sample["context_mask"]
        first = context.any(3).any(2).sum().item()  # frames with context
        if not context.any():
            seen["none"] += 1
        elif torch.equal(context, mask & clean):
            seen["around a mask"] += 1
        else:
            assert torch.equal(context, mask & (torch.arange(4)[:, None, None] < first))
            seen[first] += 1
    assert set(seen) == {"none", "around a mask", 1, 2, 3}
    for kind, share in (("none", 0.5), ("around a mask", 0.25), (1, 0.25 / 3), (2, 0.25 / 3), (3, 0.25 / 3)):
        assert abs(seen[kind] / 400 - share) < 4 * (share * (1 - share) / 400) ** 0.5


def test_without_masked_shots_a_rectangle_is_left_out_and_without_a_share_there_is_no_context(manifest):
    dataset = ViewDataset(manifest, {4: 1.0}, 0, 1, DataConfig(manifest="unused", context=1.0))
    rectangles = 0
    for sample in map(dataset.__getitem__, range(40)):
        hidden = ~sample["context_mask"][0]
        given = sample["context_mask"].all(3).all(2)[0].tolist()
        if any(given):
            assert given == sorted(given, reverse=True) and not given[-1]
            assert hidden.any(2).any(1).tolist() == [not of_frame for of_frame in given]
        else:
            rectangles += 1
            tall, wide = hidden[0].any(1).sum().item(), hidden[0].any(0).sum().item()
            assert hidden[0].sum() == tall * wide and 1 <= tall <= 4 and 2 <= wide <= 8
            assert torch.equal(hidden, hidden[:1].expand_as(hidden))
    assert 10 < rectangles < 30
    none = ViewDataset(manifest, {4: 1.0}, 0, 1, DataConfig(manifest="unused", context=0.0))
    assert "context_mask" not in none[0]


def test_masks_are_lent_by_other_shots_however_short(manifest, tmp_path):
    covered = np.zeros((8, 16), bool)
    covered[6:, 4:12] = True
    MaskTrack(3, 8, 16, [Event(0, 2, covered)]).save(tmp_path / "mask.npz")
    lender = replace(manifest[1], mask_path=str(tmp_path / "mask.npz"), num_frames=3)
    options = DataConfig(manifest="unused", extra_masks=1.0, context=0.0)
    dataset = ViewDataset([manifest[0]], {4: 1.0}, 0, 1, options, LentMasks([manifest[2], lender], SetAside(None)))
    clean = torch.from_numpy(~covered)
    patterns = set()
    for sample in map(dataset.__getitem__, range(30)):
        assert sample["shot"] == manifest[0].path
        hidden = ~sample["observed_mask"][0].flatten(1).all(1)
        assert all(torch.equal(frame, clean) for frame in sample["observed_mask"][0][hidden])
        patterns.add(tuple(hidden.tolist()))
    # A mask of three frames, two of them covered, repeated in a circle.
    assert patterns == {(True, True, False, True), (True, False, True, True), (False, True, True, False)}


def test_labels_are_class_numbers_and_are_dropped_at_the_set_rate(manifest):
    options = DataConfig(manifest="unused", classes=["cats", "dogs"], label_dropout=0.25)
    shots = [replace(manifest[0], label="dogs"), replace(manifest[1], label="fish")]
    dataset = ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=options)
    labels = {path: [] for path in (shots[0].path, shots[1].path)}
    for sample in map(dataset.__getitem__, range(200)):
        labels[sample["shot"]].append(sample["label"])
    assert set(labels[shots[1].path]) == {2}  # none of the classes
    assert labels[shots[0].path].count(2) / len(labels[shots[0].path]) == pytest.approx(0.25, abs=0.12)
    assert set(labels[shots[0].path]) == {1, 2}


def test_a_damaged_mask_sets_its_shot_aside(manifest, tmp_path):
    (tmp_path / "mask.npz").write_bytes(b"junk")
    shots = [manifest[0], replace(manifest[1], mask_path=str(tmp_path / "mask.npz"))]
    dataset = ViewDataset(shots, {4: 1.0}, seed=0, batch_size=1, options=OPTIONS)
    assert {dataset[i]["shot"] for i in range(20)} == {manifest[0].path}


def test_shots_kept_in_memory_are_decoded_once_and_give_the_same_samples(manifest, monkeypatch):
    kept = ViewDataset(manifest, {4: 1.0}, 0, 4, OPTIONS.model_copy(update={"memory_gb": 1.0}))
    plain = ViewDataset(manifest, {4: 1.0}, 0, 4, OPTIONS.model_copy(update={"memory_gb": 0.0}))
    expected = [plain[i]["frames"] for i in range(8)]
    assert all(torch.equal(kept[i]["frames"], expected[i]) for i in range(8))
    monkeypatch.setattr(type(manifest[0]), "frames", lambda *_: pytest.fail("decoded again"))
    assert all(torch.equal(kept[i]["frames"], expected[i]) for i in range(8))


@pytest.mark.slow
@pytest.mark.parametrize(("memory_gb", "count"), [(0.0, 4_000), (1.0, 20_000)])
def test_memory_stays_flat_over_thousands_of_samples(manifest, memory_gb, count):
    options = OPTIONS.model_copy(update={"memory_gb": memory_gb})
    dataset, process = ViewDataset(manifest, {4: 1.0, 2: 1.0}, 0, 4, options), psutil.Process()
    resident = []
    for index in range(count):
        dataset[index]
        if index in (count // 2, count - 1):
            resident.append(process.memory_info().rss)
    assert resident[1] < resident[0] + 4 * 2**20


@pytest.mark.parametrize("left", ['{"id": "a', "[]\n", "\x00\x00\x00", '{"id": "z", "path": "z", "reason": "r"}'])
def test_half_a_line_in_the_list_of_what_is_set_aside_is_skipped(manifest, tmp_path, left):
    path = tmp_path / "set_aside.jsonl"
    path.write_text('{"id": "first", "path": "p", "reason": "r"}\n' + left)
    for _ in range(2):
        SetAside(tmp_path).add(manifest[0], UserError("damaged"))
    ids = []
    for line in path.read_text().splitlines():
        with suppress(ValueError, TypeError):
            ids.append(json.loads(line)["id"])
    assert ids == ["first", *(["z"] if "z" in left else []), manifest[0].id]
