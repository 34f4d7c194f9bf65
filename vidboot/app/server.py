"""The app: its three pages, and the server that shows them."""

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

# Before Gradio is imported, which reads them then: it tells nobody that it is used.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr

from vidboot.app import generate_page, paint_page, runs_page
from vidboot.app.generating import Studio
from vidboot.app.parts import CSS, IN_STEP
from vidboot.app.request import AppRequest
from vidboot.errors import UserError

WAITING = 20
"""Most requests that wait; whoever comes later is told that the app is busy."""
SESSIONS = 100
"""Browser windows whose clips are kept at the same time; the oldest is forgotten first."""
CLEANING_SECONDS = 60
"""So often, old files are looked for."""


def serve(request: AppRequest) -> None:
    """Show the app until Ctrl-C. Raises `UserError` if the run can't be read or the port is taken.

    What users drop and what is made of it lies in one temporary folder, which is deleted in the end.
    """
    with tempfile.TemporaryDirectory(prefix="vidboot-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "gradio")
        app = build(Studio(request, Path(folder)))
        try:
            _, address, _ = launch(app, request)
        except OSError as error:
            raise UserError(f"can't listen on {request.host} ({error}): give another --port or --host") from None
        print(f"open {address} in a browser; Ctrl-C ends the app")
        try:
            threading.Event().wait()
        finally:
            app.close(verbose=False)


def build(studio: Studio) -> Any:
    """The pages, not yet served."""
    request = studio.request
    keep = (CLEANING_SECONDS, 60 * request.keep_minutes)
    with gr.Blocks(title=f"vidboot: {request.run.name}", analytics_enabled=False, delete_cache=keep) as app:
        video, fps = studio.model.config.video, studio.model.fps
        gr.Markdown(
            f"# {request.run.name}\n\nA model of {video.num_frames} frames of {video.width}×{video.height} pixels, "
            f"{fps:g} in a second. Files that you drop have at most {request.max_megabytes} MB and "
            f"{request.max_frames} frames; they are deleted after {request.keep_minutes} minutes."
        )
        with gr.Tab("Generate"):
            generate_page.build(studio)
        with gr.Tab("Paint out"):
            paint_page.build(studio)
        with gr.Tab("Run"):
            runs_page.build(studio, app)
    return app.queue(max_size=WAITING)


def launch(app: Any, request: AppRequest) -> tuple[Any, str, str]:
    """Serve the pages from another thread; returns Gradio's app and its addresses."""
    return app.launch(
        server_name=request.host,
        server_port=request.port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=request.max_bytes,
        state_session_capacity=SESSIONS,
        # Gradio's own themes load their fonts from elsewhere.
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
        head=f"<script>{IN_STEP}</script>",
        footer_links=[],
        run_history=False,
        mcp_server=False,
        ssr_mode=False,
    )
