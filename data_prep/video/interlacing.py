"""Interlaced pictures: two half pictures, taken one after the other, in the odd and the even rows of each frame."""

from collections.abc import Iterable, Iterator

import av
from av.filter import Graph


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """As many frames, those that say they are interlaced mended by FFmpeg's bwdif; the others stay as they are.

    Each mended frame shows the moment of its first half picture.
    """
    graph: Graph | None = None
    for frame in frames:
        if graph is None:
            if not frame.interlaced_frame:
                yield frame
                continue
            graph = _filters(frame)
        graph.push(frame)
        yield from _ready(graph)
    if graph is not None:
        graph.push(None)
        yield from _ready(graph)


def _filters(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    # Which half picture comes first is each frame's own flag.
    mender = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    graph.link_nodes(source, mender, graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    """The frames that the filter has finished: it needs the next frame for each."""
    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame
