"""A headless Chromium, spoken to in plain W3C WebDriver."""

import base64
import json
import re
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import ProxyHandler, Request, build_opener

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


DIRECT = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Browser:
    address: str

    def call(self, method, path, **body):
        data = json.dumps(body).encode() if method == "POST" else None
        request = Request(self.address + path, data=data, method=method, headers={"Content-Type": "application/json"})
        with DIRECT.open(request, timeout=30) as answer:
            return json.load(answer)["value"]

    def script(self, text, *arguments):
        return self.call("POST", "/execute/sync", script=text, args=list(arguments))

    def command(self, name, **params):
        return self.call("POST", "/goog/cdp/execute", cmd=name, params=params)

    def screen(self, width, height, scheme="light"):
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path):
        self.call("POST", "/url", url=path.as_uri())
        self.wait("return document.documentElement.dataset.drawn === 'true'")

    def wait(self, condition, seconds=15):
        end = time.monotonic() + seconds
        while not self.script(condition):
            assert time.monotonic() < end, f"never true: {condition}; log: {self.log()}"
            time.sleep(0.03)

    def log(self):
        return [entry["message"] for entry in self.call("POST", "/se/log", type="browser")]

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextmanager
def chromium(driver="chromedriver"):
    """One browser with a profile of its own, closed with its driver at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        server = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = next(found[1] for line in server.stdout if (found := re.search(r"successfully on port (\d+)", line)))
            root = Browser(f"http://127.0.0.1:{port}/session")
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = root.call("POST", "", capabilities={"alwaysMatch": wanted})["sessionId"]
            browser = Browser(f"{root.address}/{session}")
            try:
                yield browser
            finally:
                browser.call("DELETE", "")
        finally:
            server.terminate()
            server.wait(10)
            server.stdout.close()
