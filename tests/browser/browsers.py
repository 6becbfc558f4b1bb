"""The browsers of the tests, driven alike by Playwright: the system's Chromium, and its Firefox as Mozilla builds it.

Playwright's own Firefox is not needed: the channel ``moz-firefox`` speaks WebDriver BiDi to an unchanged one.
"""

from __future__ import annotations

import os
import shutil
from typing import Literal

import pytest
from playwright.async_api import Browser, Playwright

from tests.browser.waiting import MILLISECONDS

BrowserName = Literal["chromium", "firefox"]
Devices = Literal["all", "no camera", "refused"]
"""What the page finds: a microphone that beeps and a camera with a test picture; the microphone alone; nothing."""

EXECUTABLES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}
NAMES = ("evil.test", "app.test")
"""Sites of others, on this machine."""
CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    f"--host-resolver-rules={','.join(f'MAP {name} 127.0.0.1' for name in NAMES)}",
)
CHROMIUM_DEVICES = {
    "all": ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    "no camera": ("--use-fake-device-for-media-stream=device-count=0", "--use-fake-ui-for-media-stream"),
    "refused": ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny"),
}
FIREFOX_PREFERENCES: dict[str, str | float | bool] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "network.dns.localDomains": ",".join(NAMES),
    "media.cubeb.force_mock_context": True,  # a loudspeaker of no machine: without one an AudioContext never runs
}
"""Nothing about ICE: that Firefox connects as it is shipped is part of the tests."""
NO_CAMERA = """
    if (!navigator.mediaDevices) return;
    const ask = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = function (wanted) {
        if (wanted.video) return Promise.reject(new DOMException("none", "NotFoundError"));
        return ask.call(this, wanted);
    };
"""
REFUSED = """
    if (!navigator.mediaDevices) return;
    MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException("refused", "NotAllowedError"));
"""
SCREEN = """
    if (!navigator.mediaDevices) return;
    MediaDevices.prototype.getDisplayMedia = async () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
        const brush = canvas.getContext("2d");
        const draw = () => {
            brush.fillStyle = "white";
            brush.fillRect(0, 0, 1280, 720);
            brush.fillStyle = "black";
            brush.fillText(String(performance.now()), 600, 360);
        };
        draw();
        const redrawing = setInterval(draw, 100);
        const stream = canvas.captureStream(10);
        stream.getVideoTracks()[0].addEventListener("ended", () => clearInterval(redrawing));
        return stream;
    };
"""
FIREFOX_SCRIPTS: dict[Devices, str] = {"all": SCREEN, "no camera": SCREEN + NO_CAMERA, "refused": REFUSED}
"""Firefox has no screen without a display, and its other stand-ins only all together: scripts play the rest."""


def find(name: BrowserName) -> str:
    """The program to start: ``VISAVIS_TEST_CHROMIUM`` or ``VISAVIS_TEST_FIREFOX``, or the first usual name on the path.

    The test is skipped where there is none.
    """
    variable = f"VISAVIS_TEST_{name.upper()}"
    names = EXECUTABLES[name]
    path = os.environ.get(variable) or next((path for one in names if (path := shutil.which(one))), None)
    if path is None:
        pytest.skip(f"no {name.capitalize()} on this machine (looked for {', '.join(names)}; {variable} names another)")
    return path


class Launcher:
    """One kind of browser. The one with all devices is started once and shared by the tests."""

    def __init__(self, playwright: Playwright, name: BrowserName) -> None:
        self.name = name
        self._playwright = playwright
        self._executable = find(name)
        self._shared: dict[Devices, Browser] = {}

    async def browser(self, devices: Devices) -> tuple[Browser, str]:
        """A running browser, and the script that its pages need for these devices."""
        key: Devices = devices if self.name == "chromium" else "all"
        if key not in self._shared:
            self._shared[key] = await self._launch(key)
        return self._shared[key], FIREFOX_SCRIPTS[devices] if self.name == "firefox" else ""

    async def close(self) -> None:
        """End what was started."""
        for browser in self._shared.values():
            await browser.close()

    async def _launch(self, devices: Devices) -> Browser:
        if self.name == "chromium":
            flags = [*CHROMIUM_FLAGS, *CHROMIUM_DEVICES[devices]]
            return await self._playwright.chromium.launch(
                executable_path=self._executable, args=flags, timeout=MILLISECONDS
            )
        return await self._playwright.firefox.launch(
            channel="moz-firefox",
            executable_path=self._executable,
            firefox_user_prefs=FIREFOX_PREFERENCES,
            timeout=MILLISECONDS,
        )
