"""The voices of espeak-ng that may be asked for: several of English, and one of each other language it speaks well."""

from __future__ import annotations

from typing import NamedTuple


class EspeakSettings(NamedTuple):
    """How a voice is chosen."""

    espeak_name: str
    volume: int
    """Percent: brings the peaks of this voice to -6 … -3 dBFS."""


_VOLUMES = {
    45: "uk",
    50: "cmn es",
    55: "ca cs cy el fi it ka lt ro tr vi",
    60: "as bs et fa he hr pl ru sr tk",
    65: "af bn da eu hu is lv mt nl no pa pt sv uz yue",
    70: "ba bg de hi hy ja ko kk lb mk mr my sl ta th ur",
    75: "am ar id kn ms sd si sk sq sw te",
    80: "az ml ne",
    85: "gu tt",
    90: "be fr ht",
}
_NAMES = {"no": "nb"}
"""What espeak-ng calls a voice by another name."""

_OTHERS = {name: volume for volume, names in _VOLUMES.items() for name in names.split()}

ESPEAK_VOICES = {
    "en-us": EspeakSettings("en-us", 80),
    "en-us+f3": EspeakSettings("en-us+f3", 90),
    "en-us+Annie": EspeakSettings("en-us+Annie", 95),
    "en-us+Alex": EspeakSettings("en-us+Alex", 90),
    "en-us+max": EspeakSettings("en-us+max", 90),
    "en-gb": EspeakSettings("en", 65),
    "en-gb-x-rp": EspeakSettings("en-gb-x-rp", 70),
    "en-gb-scotland": EspeakSettings("en-gb-scotland", 60),
    **{name: EspeakSettings(_NAMES.get(name, name), volume) for name, volume in sorted(_OTHERS.items())},
}
"""By the name that is asked for, the default first; the others are codes of languages."""
