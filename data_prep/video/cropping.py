"""Crop, scale and convert decoded frames in one step, with FFmpeg's filters.

Converting the whole frame to RGB first takes three times as long.
"""

import av
import numpy as np
from av.filter import Graph

from vidboot.data.video import upright

Crop = tuple[int, int, int, int]
"""Top, left, height, width in upright source pixels."""


class Cropper:
    """Makes upright RGB pictures (uint8 `H W C`) of the region `crop` of decoded frames, at another size."""

    def __init__(self, crop: Crop, height: int, width: int) -> None:
        self.crop, self._size = crop, (height, width)
        self._graph: Graph | None = None
        self._made_for: tuple[str, int] | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """The picture of one frame; all frames have the same size."""
        made_for = frame.format.name, frame.rotation
        if self._graph is None or made_for != self._made_for:
            self._graph, self._made_for = self._filters(frame), made_for
        self._graph.push(frame)
        # Planes in the order green, blue, red, which PyAV sorts: for rgb24 it would make a new scaler for each frame.
        return np.ascontiguousarray(upright(self._graph.pull().to_ndarray(), frame.rotation))

    def _filters(self, frame: av.VideoFrame) -> Graph:
        turns = round(frame.rotation / 90) % 4
        crop, size = self.crop, self._size
        upright_size = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
        top, left, rows, columns = turned_back(crop, upright_size, turns)
        height, width = size[::-1] if turns % 2 else size
        way = "area" if height <= rows and width <= columns else "bilinear"
        if (height, width) == (rows, columns):
            # Without scaling, FFmpeg's fast conversion from yuv to gbrp leaves the last columns black if the width is
            # no multiple of 16.
            way += "+accurate_rnd"
        graph = Graph()
        # There is a worker for each core already.
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        # At odd positions the crop filter would cut through shared chroma samples, and in some formats through bytes.
        grid = 16 // frame.format.chroma_width(16), 16 // frame.format.chroma_height(16)
        on_grid = left % grid[0] == 0 and top % grid[1] == 0
        chain = [
            source,
            *([] if on_grid else [graph.add("format", "yuv444p")]),
            graph.add("crop", f"{columns}:{rows}:{left}:{top}:exact=1"),
            graph.add("scale", f"{width}:{height}:flags={way}"),
            # Separate planes: for interleaved RGB, FFmpeg scales the colours at half the resolution.
            graph.add("format", "gbrp"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*chain).configure()
        return graph


def turned_back(crop: Crop, size: tuple[int, int], turns: int) -> Crop:
    """Where `crop` lies in the picture before so many counter-clockwise quarter turns; `size` is that after them."""
    top, left, rows, columns = crop
    height, width = size
    for _ in range(turns):
        top, left, rows, columns = left, height - top - rows, columns, rows
        height, width = width, height
    return top, left, rows, columns
