"""A headless Chromium that is driven over a pipe by the DevTools protocol, with nothing but the browser installed."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
MISSING = "no chromium or google-chrome on PATH"
FLAGS = ["--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars",
         *(["--no-sandbox"] if os.geteuid() == 0 else [])]
# The browser reads from descriptor 3 and writes to 4.
_BECOME = """
import os, sys
high = [os.dup(os.dup(os.dup(int(number)))) for number in sys.argv[1:3]]
for number, descriptor in zip((3, 4), high):
    os.dup2(descriptor, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
_PATIENCE = 60.0        # seconds for an answer, or for what a test waits for


class Page:
    """A tab. `problems`: what its console said of errors."""

    def __init__(self, inward: int, outward: int) -> None:
        self._in, self._out = inward, outward
        self._number, self._buffer, self._session = 0, b"", ""
        self.problems: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self._ask(f"{domain}.enable")

    def open(self, address: str) -> None:
        self._ask("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a script; a promise is waited for."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until `condition` is true."""
        limit = time.monotonic() + _PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < limit, f"never true: {condition}"
            time.sleep(0.02)

    def choose_file(self, selector: str, path: Path) -> None:
        root = self._ask("DOM.getDocument")["root"]["nodeId"]
        node = self._ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def show_as(self, width: int, dark: bool = False) -> None:
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                  mobile=width < 600)
        self._ask("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def save_picture(self, path: Path) -> None:
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": parameters, **session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]     # type: ignore[no-any-return]
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)      # type: ignore[no-any-return]

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if (method == "Runtime.exceptionThrown"
                or (method == "Runtime.consoleAPICalled" and parameters["type"] == "error")
                or (method == "Log.entryAdded" and parameters["entry"]["level"] == "error")):
            self.problems.append(json.dumps(parameters)[:500])


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page of a browser whose profile is in `folder`."""
    assert BROWSER is not None
    their_in, outward = os.pipe()
    inward, their_out = os.pipe()
    command = [sys.executable, "-c", _BECOME, str(their_in), str(their_out), BROWSER, *FLAGS,
               "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
    process = subprocess.Popen(command, pass_fds=(their_in, their_out), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    os.close(their_in)
    os.close(their_out)
    try:
        yield Page(inward, outward)
    finally:
        process.kill()
        process.wait()
        os.close(inward)
        os.close(outward)
