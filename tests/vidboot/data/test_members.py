"""Files inside a tar, against Python's tarfile and against the same files outside of it."""

import tarfile

import numpy as np
import pytest

from vidboot.data.container import VideoError
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.members import file_of, member_of, places_of, read_bytes, size_of, write_tar
from vidboot.data.video import iter_frames, read_frames, write_video
from vidboot.errors import UserError


def packed(folder, contents):
    """A tar of these files, and their names as members of it."""
    tar = folder / "a, b#1+2:c.tar"
    with tar.open("wb") as file:
        write_tar(file, contents.items())
    places = places_of(len(content) for content in contents.values())
    return tar, [folder / f"{tar.name}#{offset}+{size}" for offset, size in places]


def test_members_lie_where_tarfile_finds_them(tmp_path):
    rng = np.random.default_rng(0)
    contents = {f"{n:016}.mp4": rng.bytes(size) for n, size in enumerate([0, 1, 511, 512, 513, 10_000, 3])}
    tar, names = packed(tmp_path, contents)
    with tarfile.open(tar) as opened:
        found = opened.getmembers()
        assert {member.name: opened.extractfile(member).read() for member in found} == contents
    assert [(member_of(name).offset, member_of(name).size) for name in names] == [
        (member.offset_data, member.size) for member in found
    ]
    assert [read_bytes(name) for name in names] == list(contents.values())
    assert [size_of(name) for name in names] == [len(content) for content in contents.values()]
    assert read_bytes(names[5], 100) == contents["0000000000000005.mp4"][:100]
    assert {file_of(name) for name in names} == {str(tar)}
    assert member_of("a.tar") is None and file_of("shots/a.mp4") == "shots/a.mp4"


@pytest.mark.parametrize("reader", ["torchcodec.decoders", "decord", None])
def test_videos_and_masks_in_a_tar_are_read_like_files(tmp_path, monkeypatch, reader):
    if reader is not None:
        pytest.importorskip(reader)
    wanted = [] if reader is None else [reader]
    monkeypatch.setattr(
        "vidboot.data.random_access._imported", lambda name: __import__(name, fromlist="x") if name in wanted else None
    )
    from vidboot.data.random_access import _reader

    _reader.cache_clear()
    rng = np.random.default_rng(1)
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.mp4")
        write_video(files[-1], rng.integers(0, 255, (12 + number, 48, 64, 3), dtype=np.uint8), 24, gop=4)
    mask = MaskTrack(13, 48, 64, [Event(2, 9, rng.random((48, 64)) < 0.1)])
    contents = {"0.mp4": files[0].read_bytes(), "1.npz": mask.packed(), "1.mp4": files[1].read_bytes()}
    _, (first, packed_mask, second) = packed(tmp_path, contents)
    for member, file in ((first, files[0]), (second, files[1])):
        assert np.array_equal(read_frames(member), read_frames(file))
        assert np.array_equal(read_frames(member, [7, 3, 7]), read_frames(file, [7, 3, 7]))
        assert np.array_equal(np.stack(list(iter_frames(member))), np.stack(list(iter_frames(file))))
    assert np.array_equal(MaskTrack.load(packed_mask).frames(), mask.frames())
    with pytest.raises(VideoError, match="has 12 frames, so no frame 12"):
        read_frames(first, [12])
    _reader.cache_clear()


def test_a_tar_that_is_missing_or_cut_is_a_users_error(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((8, 16, 16, 3), np.uint8), 24)
    contents = {"a.mp4": (tmp_path / "a.mp4").read_bytes(), "a.npz": MaskTrack(8, 16, 16).packed()}
    tar, (video, mask) = packed(tmp_path, contents)
    tar.write_bytes(tar.read_bytes()[:600])
    for read in (lambda: read_frames(video), lambda: read_frames(video, [1]), lambda: MaskTrack.load(mask)):
        with pytest.raises(UserError):
            read()
    tar.unlink()
    for read in (lambda: read_frames(video), lambda: read_frames(video, [1]), lambda: MaskTrack.load(mask)):
        with pytest.raises(UserError, match="can't be"):
            read()
