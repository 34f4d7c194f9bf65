"""Parts that several pages have."""

from typing import Any

import gradio as gr

from vidboot.app.generating import Studio
from vidboot.pages import in_step

DROP, DOWNLOADS, PLAYER = 150, 150, 360
"""Heights of a field for dropped files, of a list of files and of a video, pixels."""
FEW_PIXELS = 128
"""Pictures with fewer rows and columns are shown pixel by pixel: smoothed, they would look like another model's."""
CSS = """
.few-pixels video { image-rendering: pixelated }
"""
# The painted clip shows the moment of the original, so that the two can be compared.
IN_STEP = f"""
{in_step()}
setInterval(() => keepInStep([...document.querySelectorAll("#original video, #painted video")]), 200);
"""


def player(studio: Studio, label: str, name: str) -> Any:
    """A video of the run's size that plays again and again, with `name` as its element."""
    video = studio.model.config.video
    classes = ["few-pixels"] if max(video.height, video.width) < FEW_PIXELS else []
    return gr.Video(
        label=label,
        interactive=False,
        autoplay=True,
        loop=True,
        height=PLAYER,
        elem_id=name,
        elem_classes=classes,
    )


def downloads(label: str, name: str) -> Any:
    """A list of files to download."""
    return gr.Files(label=label, interactive=False, height=DOWNLOADS, elem_id=name)
