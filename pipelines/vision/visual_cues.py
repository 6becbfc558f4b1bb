"""How somebody looks while they talk: do their lips move, do they face the camera, what do their hands say. Pure.

Media time of the pictures in, states out. Pictures may be missing or come slowly, and faces may be lost for a moment;
wall time is only used to tell when nothing has been seen for too long, and is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.interfaces.vision import Detection
from pipelines.vision.scene import is_body_facing, is_facing
from pipelines.vision.settings import Action, VisualCueSettings

STALE_SECONDS = 0.6
"""Without a picture for this long nothing is known any more."""
WINDOW_SECONDS = 0.6
"""How far back lips are taken into account: two or three syllables."""
_SHORTEST_SECONDS = 0.25
"""Of lips that have been seen for less, nothing is said."""
_MOVING, _STILL = 0.035, 0.018
"""Standard deviation of the mouth's opening from which lips move, and below which they rest; a still face has 0.01."""
_PAUSE_SECONDS = 0.4
"""Lips still count as moving this long after they did: for closed sounds, and between words."""
_AWAY_SECONDS = 10.0
"""A face that is lost counts as turned away this long: the back of a head is no face to a detector."""
_LOST_SECONDS = 0.5
"""A face that is missed for less is still where it was."""
_SETTLE_SECONDS = 0.3
"""How long a head must be turned before it counts: people glance aside."""
GESTURE_SECONDS = 0.25
"""How long a gesture must be held before it acts."""
_RELEASE_SECONDS = 0.6
"""How long it must be gone before it can act again."""


@dataclass(slots=True)
class _Mouth:
    """One face's mouth over the last moments."""

    openings: deque[tuple[float, float]] = field(default_factory=deque)
    """Media time, opening 0–1."""
    moving: bool | None = None
    moved_at: float = -1e9

    def update(self, time: float, opening: float) -> None:
        if self.openings and time <= self.openings[-1][0]:
            self.openings.clear()  # time went back: the camera was started anew
        self.openings.append((time, opening))
        while self.openings[0][0] < time - WINDOW_SECONDS:
            self.openings.popleft()
        if len(self.openings) < 3 or time - self.openings[0][0] < _SHORTEST_SECONDS:
            return
        spread = float(np.std([opening for _, opening in self.openings]))
        if spread >= (_STILL if self.moving else _MOVING):
            self.moving, self.moved_at = True, time
        elif time - self.moved_at > _PAUSE_SECONDS or time < self.moved_at:
            self.moving = False


class Looks:
    """What the faces and hands of one session tell of its conversation."""

    def __init__(self, settings: VisualCueSettings | None = None) -> None:
        self.settings = settings or VisualCueSettings()
        """May be replaced at any time."""
        self._mouths: dict[int, _Mouth] = {}
        self._seen_at: float | None = None
        """Wall time of the last picture."""
        self._face_at: float | None = None
        """Media time of the last head that could be told to face the camera or not."""
        self._time = 0.0
        self._facing: bool | None = None
        self._candidate: tuple[bool | None, float] = (None, 0.0)
        self._gestures: dict[str, _Gesture] = {}

    def update(self, detections: Sequence[Detection], time: float, now: float) -> list[Action]:
        """Take what was found in the picture of media time ``time``, at wall time ``now``.

        Returns what the gestures in it shall do; each acts once, when it has been held for a quarter of a second.
        """
        if time < self._time:
            self.forget()
        self._time, self._seen_at = time, now
        faces = [found for found in detections if found.kind == "face"]
        self._follow_mouths(faces, time)
        self._follow_heads(detections, time)
        return self._follow_hands(detections, time)

    def forget(self) -> None:
        """The camera was switched off, or shows something else from now on."""
        self._mouths.clear()
        self._gestures.clear()
        self._seen_at = self._face_at = self._facing = None
        self._candidate = (None, 0.0)
        self._time = 0.0

    def lips(self, now: float) -> bool | None:
        """Whether anybody's lips move; ``None`` when no face is seen well enough, or nothing was seen for 0.6 s."""
        if self._is_stale(now):
            return None
        moving = [mouth.moving for mouth in self._mouths.values()]
        if any(moving):
            return True
        return False if moving and None not in moving else None

    def attentive(self, now: float) -> bool | None:
        """Whether somebody faces the camera; ``None`` when nothing is known: no picture, or no face for 10 s."""
        return None if self._is_stale(now) else self._facing

    def _is_stale(self, now: float) -> bool:
        return self._seen_at is None or now - self._seen_at > STALE_SECONDS

    def _follow_mouths(self, faces: Sequence[Detection], time: float) -> None:
        for face in faces:
            if face.expression is not None:
                self._mouths.setdefault(face.id, _Mouth()).update(time, face.expression.mouth_open)
        lost = [id_ for id_, mouth in self._mouths.items() if time - mouth.openings[-1][0] > _LOST_SECONDS]
        for id_ in lost:
            del self._mouths[id_]

    def _follow_heads(self, detections: Sequence[Detection], time: float) -> None:
        facing = self._facing
        known = [turned for found in detections if (turned := self._is_facing(found)) is not None]
        if known:
            self._face_at, facing = time, any(known)
        elif self._face_at is None or time - self._face_at > _AWAY_SECONDS:
            facing = None
        elif time - self._face_at > _LOST_SECONDS:
            facing = False
        if facing != self._candidate[0]:
            self._candidate = facing, time
        if facing is not False or self._facing is None or time - self._candidate[1] >= _SETTLE_SECONDS:
            self._facing = facing

    def _is_facing(self, found: Detection) -> bool | None:
        """By the rule of the scene. A body is only believed to be turned away: its face would have been found."""
        if found.kind == "face":
            return is_facing(found, self._facing is True)
        if found.kind == "pose" and self._face_at is not None and is_body_facing(found, False) is False:
            return False
        return None

    def _follow_hands(self, detections: Sequence[Detection], time: float) -> list[Action]:
        shown = {found.gesture for found in detections if found.kind == "hand" and found.gesture}
        acting: list[Action] = []
        for name, action in self.settings.gestures:
            gesture = self._gestures.setdefault(name, _Gesture())
            if gesture.update(name in shown, time) and action != "none":
                acting.append(action)
        return acting


@dataclass(slots=True)
class _Gesture:
    """Fires once each time the gesture is held."""

    since: float | None = None
    last: float = -1e9
    fired: bool = False

    def update(self, shown: bool, time: float) -> bool:
        if not shown:
            if self.since is not None and time - self.last > _RELEASE_SECONDS:
                self.since, self.fired = None, False
            elif not self.fired and time - self.last > GESTURE_SECONDS:
                self.since = None
            return False
        self.last = time
        if self.since is None:
            self.since = time
        if self.fired or time - self.since < GESTURE_SECONDS:
            return False
        self.fired = True
        return True
