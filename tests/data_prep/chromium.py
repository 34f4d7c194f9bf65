"""Drives a headless Chromium over its DevTools pipe, with nothing but the standard library."""

import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_SECONDS = 300  # a machine that does much else is slow to answer


class Page:
    """A page in a Chromium of its own, with real mouse events: a file, or a web address.

    `errors` are what its console said, `requests` the addresses that it asked for.
    """

    def __init__(self, page: Path | str, folder: Path, width: int = 1100, height: int = 900) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._numbers, self._unread = itertools.count(1), b""
        read_commands, self._write = os.pipe()
        self._read, write_events = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4.
        shell = f'exec "$@" 3<&{read_commands} 4>&{write_events}'
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--disable-dev-shm-usage"]
        command = [CHROMIUM, *options, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"]
        # Its console is read over the pipe; what it says of the machine is of no interest.
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(read_commands, write_events),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_events)
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.send("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result; events that come before it are kept in `errors` if they tell one."""
        number = next(self._numbers)
        session = {} if self._session is None else {"sessionId": self._session}
        message = json.dumps({"id": number, "method": method, "params": parameters, **session})
        os.write(self._write, message.encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript on the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = _SECONDS) -> None:
        """Wait until an expression of JavaScript is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < until, f"never true: {condition}"
            time.sleep(0.02)

    def click(self, selector: str, number: int = 0) -> None:
        """Click in the middle of an element."""
        self.drag(selector, (0.5, 0.5), (0.5, 0.5), number)

    def drag(self, selector: str, start: tuple[float, float], end: tuple[float, float], number: int = 0) -> None:
        """Press the mouse on an element, move it and let go; positions are shares of its height and width."""
        element = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        top, left, height, width = self.evaluate(
            f"(({{top, left, height, width}}) => [top, left, height, width])({element}.getBoundingClientRect())"
        )
        (y0, x0), (y1, x1) = ((top + y * height, left + x * width) for y, x in (start, end))
        button = {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=x0, y=y0, **button)
        if start != end:
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=(x0 + x1) / 2, y=(y0 + y1) / 2, **button)
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x1, y=y1, **button)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x1, y=y1, **button)

    def drop(self, selector: str, file: Path) -> None:
        """Drop a file on the middle of an element."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        y, x = self.evaluate(
            f"((r) => [r.top + r.height / 2, r.left + r.width / 2])({element}.getBoundingClientRect())"
        )
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._read], [], [], _SECONDS)
            assert ready, "Chromium does not answer"
            received = os.read(self._read, 1 << 16)
            assert received, "Chromium has ended"
            self._unread += received
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.errors.append(json.dumps(event["params"]))
        if event["method"] == "Runtime.consoleAPICalled":
            self.errors.append(json.dumps(event["params"]["args"]))
