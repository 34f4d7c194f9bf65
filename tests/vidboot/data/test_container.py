"""Which of a file's streams is the film, and which files are no video by themselves."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import av
import numpy as np
import pytest
from av.stream import Disposition
from footage import moving_scene, write

from vidboot.data.container import VideoError, films_of, is_list, open_video, pictures_of
from vidboot.data.video import iter_frames, read_frames


def segmented(folder, kind, name, **options):
    """A film of three seconds and its playlist, written by FFmpeg."""
    folder.mkdir(parents=True)
    with av.open(str(folder / name), "w", format=kind, options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for image in moving_scene(0, 75, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return folder / name


LISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.mp4\n#EXT-X-ENDLIST\n",
    "a.m3u": "\ufeff#EXTM3U\n#EXTINF:1,film\nb.mp4\n",
    "noext": "\n#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\n",
    "a.ffconcat": "ffconcat version 1.0\nfile b.mp4\n",
    "a.pls": "[playlist]\nFile1=b.mp4\nNumberOfEntries=1\n",
    "a.asx": '<ASX version="3.0"><entry><ref href="b.mp4"/></entry></ASX>',
    "a.xspf": '<?xml version="1.0"?>\n<playlist version="1" xmlns="http://xspf.org/ns/0/"></playlist>',
    "a.smil": '<?xml version="1.0"?><smil><body><video src="b.mp4"/></body></smil>',
    "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.mp4\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_no_video_whatever_its_name(tmp_path, name):
    write(tmp_path / "b.mp4", moving_scene(0, 8))
    (tmp_path / name).write_text(LISTS[name], "utf-8")
    assert is_list(tmp_path / name) and not is_list(tmp_path / "b.mp4")
    with pytest.raises(VideoError, match=r"^[^\n]*: a list of other files$"), open_video(tmp_path / name):
        pass


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("hls", "a.m3u8", {"hls_time": "1"}),
        ("hls", "a.m3u8", {"hls_time": "1", "hls_segment_type": "fmp4"}),
        ("dash", "a.mpd", {"seg_duration": "1"}),
        ("segment", "%d.mp4", {"segment_time": "1", "segment_list": "list.ffconcat"}),
    ],
)
def test_playlists_are_lists_and_their_segments_are_read_or_named(tmp_path, kind, name, options):
    if "segment_list" in options:
        options = options | {"segment_list": str(tmp_path / "a" / options["segment_list"])}
    segmented(tmp_path / "a", kind, name, **options)
    found = {}
    for path in (tmp_path / "a").iterdir():
        try:
            found[path.name] = len(list(iter_frames(path)))
        except VideoError as error:
            found[path.name] = error.reason
    lists = [name for name, said in found.items() if said == "a list of other files"]
    assert len(lists) == 1
    pieces = [said for name, said in found.items() if name not in lists and "init" not in name]
    whole = [25] * 3
    assert pieces in (whole, ["a piece of a video whose beginning is in another file: join them"] * 3)
    assert (pieces == whole) == (kind == "segment" or (kind == "hls" and "hls_segment_type" not in options))


def test_no_file_makes_the_reader_ask_the_network(tmp_path):
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/film.ts"
        (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        (tmp_path / "a.sdp").write_text(
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
        )
        for path in tmp_path.iterdir():
            with pytest.raises(VideoError), open_video(path):
                pass
    finally:
        server.shutdown()
    assert asked == []


def streams(path, *kinds):
    """A file with streams of (codec, side, number of pictures, is marked as a cover)."""
    with av.open(str(path), "w") as container:
        made = []
        for codec, side, _, cover in kinds:
            stream = container.add_stream(codec, rate=25)
            stream.height = stream.width = side
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if cover:
                stream.disposition = Disposition.attached_pic
            made.append(stream)
        for stream, (_, side, count, _) in zip(made, kinds, strict=True):
            for image in moving_scene(side, count, side, side):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
def test_a_single_picture_never_wins_over_a_film(tmp_path, suffix, first, codec):
    kinds = [("libx264", 64, 30, False), (codec, 320, 1, False)]
    path = streams(tmp_path / f"a{suffix}", *(kinds[::-1] if first else kinds))
    with open_video(path) as (container, stream):
        assert stream.width == 64
        assert len(films_of(path, container)) == 1 and len(pictures_of(container)) == 2
    assert read_frames(path, [29]).shape == (1, 64, 64, 3)


def test_slides_beside_a_film_do_not_win(tmp_path):
    path = streams(tmp_path / "a.mkv", ("mjpeg", 320, 2, False), ("libx264", 64, 60, False))
    assert read_frames(path).shape == (60, 64, 64, 3)


def test_of_two_films_the_larger_one_is_chosen_and_a_picture_alone_is_still_read(tmp_path):
    two = streams(tmp_path / "two.mkv", ("libx264", 64, 20, False), ("libx264", 96, 20, False))
    alone = streams(tmp_path / "alone.mp4", ("mjpeg", 96, 1, False), ("mjpeg", 64, 1, False))
    assert read_frames(two).shape == (20, 96, 96, 3)
    assert read_frames(alone).shape == (1, 96, 96, 3)


@pytest.mark.parametrize("name", ["a:b.mp4", "%d.mp4", "-.mp4", "file:a.mp4", "*.mp4"])
def test_a_name_that_looks_like_an_address_or_a_pattern_is_but_a_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", moving_scene(0, 8)).rename(tmp_path / name)
    assert len(read_frames(name)) == 8
