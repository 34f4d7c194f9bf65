"""The app as a user has it: the command, and a headless Chromium that drops files and looks at the pixels."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, Page
from footage import titled_films, write

pytest.importorskip("gradio", reason="no Gradio here: pip install -e '.[app]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (chromium or google-chrome in the PATH)"),
]

ROOT = Path(__file__).parents[3]
SECONDS = 300
"""A search and a repair each take some seconds on a machine that does nothing else."""


@pytest.fixture(scope="module")
def address(small_run, tmp_path_factory):
    """The app's address; it takes files of 1 MB and 60 frames."""
    work = tmp_path_factory.mktemp("app")
    command = [sys.executable, ROOT / "tools" / "app.py", "--run", small_run, "--max-megabytes", 1, "--max-frames", 60]
    environment = os.environ | {"TMPDIR": str(work), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment) as app:
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+/?", line) for line in app.stdout)), None)
        assert found is not None, "the app has ended"
        yield found[0]
        app.terminate()
        app.communicate(timeout=60)
    assert app.returncode == 130
    assert list(work.glob("vidboot-app-*")) == []  # what was dropped, and what was made


def pixels(page: Page, selector: str, share: float) -> np.ndarray:
    """What a video shows at this share of its length, as the browser draws it: `H W C`."""
    page.wait(f"document.querySelector('{selector}')?.readyState >= 1", SECONDS)
    height, width, *values = page.evaluate(
        f"""new Promise((done) => {{
          const video = document.querySelector('{selector}');
          video.pause();
          video.onseeked = () => {{
            const canvas = document.createElement('canvas');
            [canvas.height, canvas.width] = [video.videoHeight, video.videoWidth];
            const context = canvas.getContext('2d');
            context.drawImage(video, 0, 0);
            done([canvas.height, canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data]);
          }};
          video.currentTime = {share} * video.duration;
        }})"""
    )
    return np.array(values).reshape(height, width, 4)[..., :3]


def open_tab(page: Page, name: str) -> None:
    tabs = "[...document.querySelectorAll('button[role=tab]')]"
    page.wait(f"{tabs}.some((tab) => tab.textContent.trim() === '{name}')", SECONDS)
    page.evaluate(f"{tabs}.find((tab) => tab.textContent.trim() === '{name}').click()")


def says(page: Page, words: str) -> None:
    page.wait(f"document.body.innerText.includes({words!r})", SECONDS)


def test_a_file_that_is_too_large_is_refused(address, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 240, 320, 3), dtype=np.uint8)
    large = write(tmp_path / "large.mp4", noise)
    assert large.stat().st_size > 2**20
    with Page(address, tmp_path) as page:
        open_tab(page, "Paint out")
        page.wait("document.querySelector('#clip button')?.offsetParent != null", SECONDS)
        page.drop("#clip button", large)
        says(page, "exceed the maximum allowed size")


def test_a_dropped_clip_is_painted_out(address, tmp_path):
    (film,) = titled_films(tmp_path, 1)
    with Page(address, tmp_path) as page:
        open_tab(page, "Paint out")
        page.wait("document.querySelector('#clip button')?.offsetParent != null", SECONDS)
        page.drop("#clip button", film)
        page.wait("document.querySelector('#overlay img')?.naturalWidth > 0", SECONDS)
        says(page, "Red is masked")
        assert page.evaluate("document.querySelectorAll('#masked input:checked').length") >= 1
        page.click("#paint")
        says(page, "Done.")
        before, after = (pixels(page, f"#{name} video", 20.5 / 48).astype(int) for name in ("original", "painted"))
        requests = [request for request in page.requests if not request.startswith(("data:", "blob:"))]
    assert before.shape == after.shape == (8, 8, 3)
    change = np.abs(before - after).mean(-1)
    # The letters are in the lowest two rows; the trailer has writing of its own in the middle.
    assert change[6:].max() > 10 > change[[0, 1, 2, 5]].max()
    assert {request.split("/")[2] for request in requests} == {address.split("/")[2]}  # nothing comes from elsewhere


def test_a_video_is_generated_and_a_text_with_its_ending_is_refused(address, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("Only words.\n" * 1000)
    with Page(address, tmp_path) as page:
        page.wait("document.querySelector('#generate')?.offsetParent != null", SECONDS)
        page.click("#generate")
        says(page, "Done.")
        made = pixels(page, "#generated video", 0.5)
        assert made.shape == (8, 8, 3) and made.std() > 5
        assert page.evaluate("document.querySelectorAll('#generated-files a[href]').length") >= 2
        page.drop("#init button", text)
        page.wait("document.querySelector('#init').innerText.includes('text')", SECONDS)
        page.click("#generate")
        says(page, "text.mp4 can't be used: not a video")
