"""Calls that send their events in the channel's ``open`` handler, as a page does: how many are answered.

.venv/bin/python -m tests.benchmarks.open_handler [--calls 20] [--tree CHECKOUT …] [--firefox]
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright
from rich.console import Console

from tests.benchmarks.watched import running
from tests.browser.browsers import BrowserName, Launcher
from tests.fakes.peer import Peer

EVENTS = [
    {"type": "session.update", "session": {"type": "realtime", "instructions": "Sing."}},
    {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    },
    {"type": "response.create"},
]
SECONDS = 15
PAGE_CALL = """async ({ events, seconds }) => {
    const pc = new RTCPeerConnection();
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    pc.addTrack(media.getAudioTracks()[0], media);
    const channel = pc.createDataChannel("oai-events");
    channel.onopen = () => { for (const event of events) channel.send(JSON.stringify(event)); };
    const answered = new Promise((done) => {
        setTimeout(() => done(`no answer, ${pc.connectionState}`), seconds * 1000);
        channel.onmessage = ({ data }) => {
            const event = JSON.parse(data);
            if (event.type === "response.done") done(event.response.status);
        };
    });
    await pc.setLocalDescription();
    const body = JSON.stringify({ type: "offer", sdp: pc.localDescription.sdp });
    const headers = { "content-type": "application/json" };
    const response = await fetch("/offer", { method: "POST", headers, body });
    const { sdp, type } = await response.json();
    await pc.setRemoteDescription({ sdp, type });
    const said = await answered;
    pc.close();
    for (const track of media.getTracks()) track.stop();
    return said;
}"""
console = Console(highlight=False, markup=False, soft_wrap=True)


async def aiortc_call(url: str) -> str:
    """One call of aiortc's; what its response came to."""
    peer = Peer(url)
    create = peer.pc.createDataChannel

    def create_and_talk(label: str) -> Any:
        channel = create(label)
        channel.on("open", lambda: [channel.send(json.dumps(event)) for event in EVENTS])
        return channel

    peer.pc.createDataChannel = create_and_talk  # type: ignore[method-assign]
    try:
        await peer.connect()
        return str((await peer.event("response.done", timeout=SECONDS))["response"]["status"])
    except AssertionError:
        return f"no answer, {peer.pc.connectionState}"
    finally:
        await peer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--tree", type=Path, action="append", help="a checkout; repeatable (default: this one)")
    parser.add_argument("--firefox", action="store_true", help="instead of Chromium")
    options = parser.parse_args()
    browser_name: BrowserName = "firefox" if options.firefox else "chromium"
    async with async_playwright() as playwright:
        launcher = Launcher(playwright, browser_name)
        browser, _ = await launcher.browser("all")
        for tree in options.tree or [Path.cwd()]:
            async with running(tree.resolve()) as server:
                page = await browser.new_page()
                await page.goto(server.url)
                with_page, with_aiortc = [], []
                for _ in range(options.calls):
                    with_page.append(await page.evaluate(PAGE_CALL, {"events": EVENTS, "seconds": SECONDS}))
                    with_aiortc.append(await aiortc_call(server.url))
                await page.close()
                for name, said in ((browser_name, with_page), ("aiortc", with_aiortc)):
                    lost = [one for one in said if one != "completed"]
                    answered = len(said) - len(lost)
                    console.print(f"{tree} {name}: {answered} of {len(said)} answered {lost}")
                console.print(f"exceptions in the log: {server.log.count(b'Traceback')}")
        await launcher.close()


if __name__ == "__main__":
    asyncio.run(main())
