"""The order of what happens in a prediction, whatever order its two halves work in. Pure.

Text and video are made side by side. Neither waits for the other, and the failure of one leaves the other: a prediction
is over when both have ended, each in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence

from media.frames import Pixels
from pipelines.foresight.events import (
    By,
    Completed,
    Event,
    Frame,
    Preview,
    Started,
    TextChunk,
    TextDone,
    VideoDone,
    VideoFailed,
    VideoStartedOver,
)
from pipelines.foresight.quality import Plan


class Progress:
    """What was told so far. Each method returns the events that follow; after the last one there are none."""

    def __init__(self, plan: Plan, by: By) -> None:
        self.plan = plan
        self._by = by
        self._text: list[str] = []
        self._frames = 0
        self._text_ended = False
        self._video_ended = False
        self.over = False

    def start(self, picture: Pixels) -> Sequence[Event]:
        """``picture`` is the first frame: it is there before anything is computed."""
        return [Started(self.plan, self._by), *self.frame(picture, 1.0)]

    def words(self, text: str) -> Sequence[Event]:
        """The next words."""
        if self.over or self._text_ended or not text:
            return []
        self._text.append(text)
        return [TextChunk(text)]

    def text_ended(self, code: str = "", message: str = "") -> Sequence[Event]:
        """All has been said, or it cannot be."""
        if self.over or self._text_ended:
            return []
        self._text_ended = True
        return [TextDone(code, message)]

    def frame(self, pixels: Pixels, confidence: float | None) -> Sequence[Event]:
        """The next frame; more than were planned are left out."""
        if self.over or self._video_ended or self._frames == self.plan.frames:
            return []
        index, self._frames = self._frames, self._frames + 1
        sure = None if confidence is None else min(max(confidence, 0.0), 1.0)
        return [Frame(index, self.plan.frames, index / self.plan.fps, pixels, sure)]

    def preview(self, index: int, pixels: Pixels, step: int, steps: int) -> Sequence[Event]:
        """What the frame ``index`` is going to be like."""
        if self.over or self._video_ended or not self._frames <= index < self.plan.frames:
            return []
        return [Preview(index, self.plan.frames, index / self.plan.fps, pixels, step, steps)]

    def start_over(self, plan: Plan, picture: Pixels, reason: str) -> Sequence[Event]:
        """The video is made again as ``plan`` says, from its first frame on."""
        if self.over or self._video_ended:
            return []
        self.plan, self._frames = plan, 0
        return [VideoStartedOver(plan, reason), *self.frame(picture, 1.0)]

    def video_ended(self) -> Sequence[Event]:
        """No more frames come. Fewer than were planned are a failure."""
        if self._frames < self.plan.frames:
            short = f"the video ended after {self._frames} of {self.plan.frames} frames"
            return self.video_failed("video_incomplete", short)
        if self.over or self._video_ended:
            return []
        self._video_ended = True
        return [VideoDone(self._frames, self.plan.seconds)]

    def video_failed(self, code: str, message: str) -> Sequence[Event]:
        """The video cannot be made, or not to its end."""
        if self.over or self._video_ended:
            return []
        self._video_ended = True
        return [VideoFailed(code, message)]

    def complete(self) -> Sequence[Event]:
        """Both halves have told all that they had to tell."""
        if self.over or not (self._text_ended and self._video_ended):
            return []
        self.over = True
        return [Completed("".join(self._text))]
