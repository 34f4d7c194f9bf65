"""The app as a user has it: the command, and a headless Chromium that drops files and looks at the pixels."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import psutil
import pytest
from chromium import CHROMIUM, Page
from footage import titled_films, write

from vidboot.experiments.digits import Motion, digit_video

pytest.importorskip("gradio", reason="no Gradio here: pip install -e '.[app]'")

from gradio_client import Client

from vidboot.app.generate_page import ANY_CLASS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (chromium or google-chrome in the PATH)"),
]

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "tests" / "data" / "digits_run"
SECONDS = 900
"""A search and a repair each take some seconds on a machine that does nothing else, and minutes on a busy one."""


class App(NamedTuple):
    address: str
    process: psutil.Process


@contextmanager
def serving(run: Path, work: Path) -> Iterator[App]:
    """The app of a run; it takes files of 1 MB and 128 frames, and leaves nothing behind."""
    command = [sys.executable, ROOT / "tools" / "app.py", "--run", run, "--max-megabytes", 1, "--max-frames", 128]
    environment = os.environ | {"TMPDIR": str(work), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment) as app:
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+/?", line) for line in app.stdout)), None)
        assert found is not None, "the app has ended"
        yield App(found[0], psutil.Process(app.pid))
        app.terminate()
        app.communicate(timeout=60)
    assert app.returncode == 130
    assert list(work.glob("vidboot-app-*")) == []  # what was dropped, and what was made


@pytest.fixture(scope="module")
def app(small_run, tmp_path_factory):
    """The app of a small untrained run."""
    with serving(small_run, tmp_path_factory.mktemp("app")) as served:
        yield served


def pixels(page: Page, selector: str, share: float) -> np.ndarray:
    """What a video shows at this share of its length, as the browser draws it: `H W C`."""
    page.wait(f"document.querySelector('{selector}')?.readyState >= 1", SECONDS)
    height, width, *values = page.evaluate(
        f"""new Promise((done) => {{
          // A copy, because the page's own player may go on, or be moved by the page.
          const video = document.createElement('video');
          Object.assign(video, {{ muted: true, src: document.querySelector('{selector}').currentSrc }});
          video.onloadeddata = () => {{ video.currentTime = {share} * video.duration; }};
          video.onseeked = () => {{
            const canvas = document.createElement('canvas');
            [canvas.height, canvas.width] = [video.videoHeight, video.videoWidth];
            const context = canvas.getContext('2d');
            context.drawImage(video, 0, 0);
            done([canvas.height, canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data]);
          }};
        }})"""
    )
    return np.array(values).reshape(height, width, 4)[..., :3]


def open_tab(page: Page, name: str) -> None:
    tabs = "[...document.querySelectorAll('button[role=tab]')]"
    page.wait(f"{tabs}.some((tab) => tab.textContent.trim() === '{name}')", SECONDS)
    page.evaluate(f"{tabs}.find((tab) => tab.textContent.trim() === '{name}').click()")


def says(page: Page, words: str) -> None:
    page.wait(f"document.body.innerText.includes({words!r})", SECONDS)


def enter(page: Page, selector: str, value: int) -> None:
    """Put a number into a field, as from the keyboard."""
    page.evaluate(f"(document.querySelector('{selector}').focus(), document.querySelector('{selector}').select())")
    page.send("Input.insertText", text=str(value))
    page.evaluate("document.activeElement.blur()")


def drop_clip(page: Page, clip: Path) -> None:
    open_tab(page, "Paint out")
    page.wait("document.querySelector('#clip button')?.offsetParent != null", SECONDS)
    page.drop("#clip button", clip)


def test_a_file_that_is_too_large_is_refused(app, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 240, 320, 3), dtype=np.uint8)
    large = write(tmp_path / "large.mp4", noise)
    assert large.stat().st_size > 2**20
    with Page(app.address, tmp_path) as page:
        drop_clip(page, large)
        says(page, "exceed the maximum allowed size")


def test_a_dropped_clip_is_painted_out(app, tmp_path):
    (film,) = titled_films(tmp_path, 1)
    with Page(app.address, tmp_path) as page:
        drop_clip(page, film)
        page.wait("document.querySelector('#overlay img')?.naturalWidth > 0", SECONDS)
        says(page, "Red is masked")
        assert page.evaluate("document.querySelectorAll('#masked input:checked').length") >= 1
        page.click("#paint")
        says(page, "Done.")
        before, after = (pixels(page, f"#{name} video", 20.5 / 48).astype(int) for name in ("original", "painted"))
        requests = [request for request in page.requests if not request.startswith(("data:", "blob:"))]
    assert before.shape == after.shape == (8, 8, 3)
    change = np.abs(before - after).mean(-1)
    # The letters are in the lowest two rows; the trailer has writing of its own in the middle. Above only the encoder
    # changes anything: 8×8 pixels are one block of it, over which it spreads what it rounds.
    assert change[6:].max() > 10 and change[6:].mean() > 3 * change[:3].mean()
    assert {request.split("/")[2] for request in requests} == {
        app.address.split("/")[2]
    }  # nothing comes from elsewhere


def test_a_video_is_generated_and_a_text_with_its_ending_is_refused(app, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("Only words.\n" * 1000)
    with Page(app.address, tmp_path) as page:
        page.wait("document.querySelector('#generate')?.offsetParent != null", SECONDS)
        page.click("#generate")
        says(page, "Done.")
        made = pixels(page, "#generated video", 0.5)
        assert made.shape == (8, 8, 3) and made.std() > 5
        assert page.evaluate("document.querySelectorAll('#generated-files a[href]').length") >= 2
        page.drop("#init button", text)
        page.wait("document.querySelector('#init').innerText.includes('text')", SECONDS)
        page.click("#generate")
        says(page, "text.mp4 can't be used: damaged or not a video")
        says(page, "Not made; the message says why.")


def test_two_users_at_once_get_each_their_own(app, tmp_path):
    with Page(app.address, tmp_path / "one") as one, Page(app.address, tmp_path / "two") as two:
        for page, seed in ((one, 1), (two, 2)):
            page.wait("document.querySelector('#generate')?.offsetParent != null", SECONDS)
            enter(page, "#seed input", seed)
        for page in (one, two):
            page.click("#generate")
        for page in (one, two):
            says(page, "Done.")
        theirs = [pixels(page, "#generated video", 0.5) for page in (one, two)]
        assert np.abs(theirs[0] - theirs[1]).mean() > 5
        enter(two, "#seed input", 1)
        before = two.evaluate("document.querySelector('#generated video').currentSrc")
        two.click("#generate")
        two.wait(f"(document.querySelector('#generated video')?.currentSrc || {before!r}) !== {before!r}", SECONDS)
        assert np.array_equal(pixels(two, "#generated video", 0.5), theirs[0])


def test_memory_is_flat_over_fifty_requests(app, tmp_path):
    """By Gradio's own client, which asks as a browser does."""
    client, used = Client(app.address, download_files=tmp_path, verbose=False), []
    for seed in range(50):
        said, *_ = client.predict(2, seed, ANY_CLASS, None, None, True, api_name="/generate")
        assert said == "Done."
        used.append(app.process.memory_info().rss)
    # What the first ten have filled, like PyTorch's and the page server's caches, is kept and not counted.
    print(f"MB after each tenth request: {[round(u / 2**20) for u in used[9::10]]}")
    assert used[-1] - used[9] < 0.05 * used[9]


@pytest.mark.skipif(not DIGITS.is_dir(), reason="the trained digits run is not here")
@pytest.mark.xfail(
    strict=True, reason="706 against cv2.inpaint's 390; without the mp4 172, on another video 514 against 365"
)
def test_a_box_by_the_mouse_is_painted_out_better_than_by_inpainting(tmp_path):
    """On a video of the run's kind that nobody has trained on: the mean square under the box is half at most."""
    frames = digit_video((9, 0, 1), 64, "train", 16, 12, 10, Motion(pace=0.03, closed=(5, 7)))
    top, left, bottom, right = 10, 2, 12, 14  # of 16: a line of a subtitle
    damaged = frames.copy()
    damaged[:, top:bottom, left:right] = 255
    clip = write(tmp_path / "damaged.mp4", damaged.repeat(10, 1).repeat(10, 2), crf="4")
    with serving(DIGITS, tmp_path) as app, Page(app.address, tmp_path) as page:
        drop_clip(page, clip)
        page.wait("document.querySelector('#overlay img')?.naturalWidth > 0", SECONDS)
        says(page, "Red is masked")
        corner(page, top, left)
        says(page, "Now click on the opposite corner")
        corner(page, bottom, right)
        page.wait("document.querySelector('#masked').innerText.includes('your box 1')", SECONDS)
        page.click("#paint")
        says(page, "Done.")
        painted = np.stack([pixels(page, "#painted video", (n + 0.5) / 64) for n in range(64)])
    mask = np.zeros((16, 16), np.uint8)
    mask[top:bottom, left:right] = 1
    inpainted = np.stack([cv2.inpaint(frame, mask, 3, cv2.INPAINT_TELEA) for frame in damaged])
    errors = [np.square((made.astype(float) - frames)[:, mask == 1]).mean() for made in (painted, inpainted)]
    print(f"mean squares under the box, grey levels: painted out {errors[0]:.1f}, cv2.inpaint {errors[1]:.1f}")
    assert errors[0] <= errors[1] / 2


def corner(page: Page, row: int, column: int) -> None:
    """Click on the picture, in the middle of the pixel with which a pixel of the run begins."""
    place = (10 * row + 0.5) / 160, (10 * column + 0.5) / 160
    page.drag("#overlay img", place, place)
