"""Numbers and what belongs to them, as they are said: money, units, fractions, phone numbers, versions, ranges. Pure.

Voices read a plain numeral well, so numerals stay; said in other words is what they get wrong: a fraction as "slash", a
range as "dash", a phone number as millions, ``km`` as two letters.
"""

from __future__ import annotations

import re

from pipelines.voice.spoken_text.dates import ordinal, two_digits
from pipelines.voice.spoken_text.rewriting import Rule, any_of, rule

_PARTS = (
    "nothing whole half third quarter fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth"
).split()
_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
    "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
_NO_FRACTIONS = ((24, 7), (9, 11), (7, 11))
"""What looks like a fraction and is a name."""
SIGNS = {
    "$": ("dollar", "dollars", "cents"), "€": ("euro", "euros", "cents"), "£": ("pound", "pounds", "pence"),
    "¥": ("yen", "yen", "sen"), "₹": ("rupee", "rupees", "paise"), "₩": ("won", "won", "jeon"),
    "₽": ("ruble", "rubles", "kopecks"), "₿": ("bitcoin", "bitcoins", "satoshis"),
}  # fmt: skip
"""Signs of currencies: one, many, hundredths."""
_CODES = {
    "USD": ("US dollar", "US dollars", "cents"), "EUR": SIGNS["€"], "JPY": SIGNS["¥"],
    "GBP": ("British pound", "British pounds", "pence"), "CHF": ("Swiss franc", "Swiss francs", "centimes"),
    "CNY": ("yuan", "yuan", "fen"),
}  # fmt: skip
_COUNTRIES = {
    "US": "US ", "A": "Australian ", "AU": "Australian ", "C": "Canadian ", "CA": "Canadian ", "NZ": "New Zealand ",
}  # fmt: skip
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion"}
_WHOLE = r"[0-9]+(?:,[0-9]{3})*"
_NUMBER = rf"{_WHOLE}(?:\.[0-9]+)?"
_DASH = r"\s?[-–—−]\s?"
_SIGN = f"[{''.join(SIGNS)}]"
_NAMED_SCALE = r"\s(?:thousand|million|billion|trillion)\b"
_SCALE = rf"(?P<scale>\s?(?:k|K|M|m|mn|bn|B|tn)\b|{_NAMED_SCALE})?"
_SMALL = r"(?:\.(?P<part>[0-9]+)|,(?P<cents>[0-9]{2})(?![0-9]))?"
UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "μm": "micrometer",
    "nm": "nanometer", "mi": "mile", "ft": "foot", "yd": "yard", "kg": "kilogram", "g": "gram", "mg": "milligram",
    "lb": "pound", "lbs": "pound", "oz": "ounce", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter",
    "cl": "centiliter", "dl": "deciliter", "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute",
    "sec": "second", "secs": "second", "s": "second", "ms": "millisecond", "GB": "gigabyte", "MB": "megabyte",
    "KB": "kilobyte", "kB": "kilobyte", "TB": "terabyte", "GiB": "gibibyte", "MiB": "mebibyte", "KiB": "kibibyte",
    "Gbps": "gigabit per second", "Mbps": "megabit per second", "kbps": "kilobit per second", "Mbit": "megabit",
    "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "W": "watt", "kW": "kilowatt",
    "MW": "megawatt", "kWh": "kilowatt hour", "Wh": "watt hour", "V": "volt", "mV": "millivolt", "kV": "kilovolt",
    "mA": "milliamp", "mAh": "milliamp hour", "J": "joule", "kJ": "kilojoule", "kcal": "kilocalorie", "cal": "calorie",
    "hPa": "hectopascal", "kPa": "kilopascal", "Pa": "pascal", "dB": "decibel", "px": "pixel", "mph": "mile per hour",
    "kph": "kilometer per hour", "fps": "frame per second", "rpm": "revolution per minute", "bpm": "beat per minute",
    "ha": "hectare", "mol": "mole", "lm": "lumen", "Nm": "newton meter", "°C": "degree Celsius", "℃": "degree Celsius",
    "°F": "degree Fahrenheit", "℉": "degree Fahrenheit", "° C": "degree Celsius", "° F": "degree Fahrenheit",
}  # fmt: skip
"""Signs of units behind a number, in the singular."""
_UNCHANGED = ("hertz", "kilohertz", "megahertz", "gigahertz")
_UNIT = any_of(UNITS)
_POWER = r"[²³]|\^[23]"
_POWERS = {"²": "square ", "^2": "square ", "³": "cubic ", "^3": "cubic "}
_REGNAL = any_of(
    "Henry Louis Charles Elizabeth George William Edward Richard James Mary Philip Frederick Catherine Ivan Nicholas "
    "Alexander Napoleon Pius Benedict Francis Leo Paul Gregory Clement Innocent Wilhelm Friedrich Peter Ramses Ptolemy "
    "Thutmose Felipe Carlos Juan Gustav Christian Otto Constantine Xerxes Darius Philippe Robert Malcolm Harald".split()
)
_NUMBERED = any_of(
    "Chapter Part Volume Book Act Scene Section Article Phase Stage Level Type Class Grade Title War Bowl Episode "
    "Season Appendix Mark Figure Table Round Division".split()
)
_VERSIONED = (
    "version|release|python|java|node|ruby|php|perl|django|windows|ubuntu|debian|macos|ios|android|firefox|chrome"
    "|tls|usb|bluetooth|http|kernel"
)
_ROMAN = r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?<=[IVXLCDM])"
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(text: str) -> int:
    """The value of a Roman numeral."""
    values = [_ROMAN_VALUES[letter] for letter in text]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


# ------------------------------------------------------------------------------------------------ money


def _amount(match: re.Match[str]) -> str:
    """``$3.50`` → ``3 dollars and 50 cents``; ``$5 million`` → ``5 million dollars``; ``US$5`` → ``5 US dollars``."""
    found = match.groupdict()
    one, many, small = SIGNS[found["sign"]] if found["sign"] else _CODES[found["code"]]
    country = _COUNTRIES.get(found.get("country") or "", "")
    whole, part, scale = match["whole"], match["part"] or match["cents"] or "", _scale(found["scale"])
    minus = "minus " if found.get("minus") else ""
    if scale or len(part) not in (0, 2):
        return f"{minus}{whole}{'.' + part if part else ''}{scale} {country}{many}"
    units = f"{minus}{whole} {country}{one if whole == '1' else many}"
    if part in ("", "00"):
        return units
    cents = f"{part.lstrip('0')} {small}"
    return f"{units} and {cents}" if whole.strip("0") else minus + cents


def _amounts(match: re.Match[str]) -> str:
    """``$5–$10`` → ``5 to 10 dollars``."""
    return f"{match['low']} to {match['high']}{_scale(match['scale'])} {SIGNS[match['sign']][1]}"


def _scale(text: str | None) -> str:
    word = (text or "").strip()
    return f" {_SCALES.get(word.lower(), word)}" if word else ""


# ------------------------------------------------------------------------------------------------ units and fractions


def _measure(match: re.Match[str]) -> str:
    """``5 km/h`` → ``5 kilometers per hour``; ``1 m²`` → ``1 square meter``."""
    number, minus = match["number"], "minus " if match["minus"] else ""
    said = f"{minus}{number} {_POWERS.get(match['power'] or '', '')}{_unit(match['unit'], number)}"
    if match["per"] is None:
        return said
    per, power = UNITS[match["per"]], _POWERS.get(match["below"] or "", "")
    return f"{said} per {per} squared" if power == "square " and per == "second" else f"{said} per {power}{per}"


def _unit(unit: str, number: str) -> str:
    name = UNITS[unit]
    if number == "1" or number in _VULGAR or "/" in number or name in _UNCHANGED:
        return name
    if name == "foot":
        return "feet"
    head, space, rest = (
        name.partition(" ") if name.split()[-1] not in ("hour", "meter") or " per " in name else (name, "", "")
    )
    return f"{head}s{space}{rest}"


def _fraction(match: re.Match[str]) -> str:
    """``1/2`` → ``one half``, ``2 3/4`` → ``2 and three quarters``, ``9/10`` → ``9 out of 10``."""
    whole, top, bottom = match["whole"], int(match["top"]), int(match["bottom"])
    if (top, bottom) in _NO_FRACTIONS:
        return f"{whole + ' ' if whole else ''}{top} {bottom}"
    if not 2 <= bottom < len(_PARTS) or not 0 < top < bottom or (not whole and bottom == 10):
        between = "out of" if top <= bottom else "over"
        return f"{whole + ' ' if whole else ''}{top} {between} {bottom}"
    return _mixed(whole, top, bottom)


def _vulgar(match: re.Match[str]) -> str:
    return _mixed(match["whole"], *_VULGAR[match["sign"]])


def _mixed(whole: str | None, top: int, bottom: int) -> str:
    parts = _PARTS[bottom] if top == 1 else f"{_PARTS[bottom]}s"
    if whole:
        return f"{whole} and {'a' if top == 1 else two_digits(top)} {parts}"
    return f"{two_digits(top)} {parts}"


# ------------------------------------------------------------------------------------------------ digit by digit


def _digits(match: re.Match[str]) -> str:
    """A number that is said digit by digit, in its groups."""
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(" ".join(group) for group in re.findall(r"[0-9]+", match[0]))


def _phone(match: re.Match[str]) -> str:
    count = sum(character.isdigit() for character in match[0])
    return _digits(match) if 7 <= count <= 15 else match[0]


def _version(match: re.Match[str]) -> str:
    """``1.2.3`` and ``Python 3.11``, each number by itself; ``3.11`` alone is a decimal."""
    if match["before"] is None and match["version"].count(".") < 2:
        return match[0]
    return (match["before"] or "") + match["version"].replace(".", " point ")


def _power_of_ten(match: re.Match[str]) -> str:
    minus = "minus " if match["sign"] in ("-", "−") else ""
    return f"{match['number']} times 10 to the power of {minus}{int(match['power'])}"


_NO_NUMBER_BEFORE = r"(?<![\w.,/:-])"
_NO_NUMBER_BEHIND = r"\b(?![-.,/:]?[0-9])"

NUMBER_RULES: tuple[Rule, ...] = (
    # digits that are set apart by blanks, and decimals as other languages write them
    rule(r"(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))", ""),
    rule(r"\b[1-9][0-9]{0,2}(?: 000)+\b", lambda match: match[0].replace(" ", "")),
    rule(r"\b([0-9]{1,3}(?:\.[0-9]{3})+),([0-9]{1,2})\b", lambda match: f"{match[1].replace('.', ',')}.{match[2]}"),
    rule(r"(?<![\w.])\.(?=[0-9])", "0."),
    # phone numbers and others that are said digit by digit
    rule(r"(?<![\w.])\+[0-9][0-9 ()./-]{6,20}[0-9]\b", _phone),
    rule(r"(?<![\w.])\([0-9]{3,5}\)\s?[0-9]{2,4}[-. /]?[0-9]{3,6}\b", _phone),
    rule(rf"{_NO_NUMBER_BEFORE}(?:1[-. ])?[0-9]{{3}}[-. ][0-9]{{3}}[-. ][0-9]{{4}}{_NO_NUMBER_BEHIND}", _phone),
    rule(rf"{_NO_NUMBER_BEFORE}[0-9]{{3}}-[0-9]{{4}}{_NO_NUMBER_BEHIND}", _phone),
    rule(rf"{_NO_NUMBER_BEFORE}0[0-9]{{1,4}}[-/ ][0-9]{{2,4}}(?:[- ]?[0-9]{{2,4}}){{1,3}}{_NO_NUMBER_BEHIND}", _phone),
    rule(rf"{_NO_NUMBER_BEFORE}[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}{_NO_NUMBER_BEHIND}", _digits),
    rule(rf"{_NO_NUMBER_BEFORE}[0-9]{{4}}(?:[ -][0-9]{{4}}){{3}}{_NO_NUMBER_BEHIND}", _digits),
    rule(r"(?<=\b[Cc]all )[0-9]{3}\b|(?<=\b[Dd]ial )[0-9]{3}\b", _digits),
    # versions and addresses of machines
    rule(
        rf"{_NO_NUMBER_BEFORE}([0-9]{{1,3}})\.([0-9]{{1,3}})\.([0-9]{{1,3}})\.([0-9]{{1,3}})\b",
        r"\1 dot \2 dot \3 dot \4",
    ),
    rule(r"\b[vV]([0-9]+(?:\.[0-9]+)*)\b", r"version \1"),
    rule(
        rf"\b(?P<before>(?:{_VERSIONED})\s)?(?P<version>[0-9]+(?:\.[0-9]+)+)\b",
        _version,
        re.IGNORECASE,
    ),
    # money
    rule(rf"(?P<sign>{_SIGN})(?P<low>{_NUMBER}){_DASH}(?:{_SIGN})?(?P<high>{_NUMBER}){_SCALE}(?![\w.-])", _amounts),
    rule(
        rf"(?P<minus>(?<!\w)[-−])?(?P<country>\b(?:US|AU|A|CA|C|NZ))?(?P<sign>{_SIGN})\s?"
        rf"(?P<whole>{_WHOLE}){_SMALL}{_SCALE}"
        rf"(?:\s?(?:{any_of(_CODES)})\b)?",
        _amount,
    ),
    rule(
        rf"(?<![\w.,])(?P<whole>{_WHOLE}){_SMALL}(?P<scale>{_NAMED_SCALE})?"
        rf"\s?(?:(?P<sign>{_SIGN})|(?P<code>{any_of(_CODES)})\b)",
        _amount,
    ),
    rule(
        rf"\b(?P<code>{any_of(_CODES)})\s?(?P<sign>(?!))?(?P<whole>{_WHOLE}){_SMALL}(?P<scale>{_NAMED_SCALE})?", _amount
    ),
    rule(r"(?<=[0-9])\s?¢", " cents"),
    # units, fractions, sizes
    rule(
        rf"(?P<minus>(?<![\w.)])[-−])?(?<![\w.,/])(?P<number>{_NUMBER}|[{''.join(_VULGAR)}]|[0-9]/[0-9])"
        rf"\s?(?P<unit>{_UNIT})(?P<power>{_POWER})?(?:/(?P<per>{_UNIT})(?P<below>{_POWER})?)?(?![\w/’'²³^])",
        _measure,
    ),
    rule(
        r"(?<![\w.,/])(?:(?P<whole>[0-9]+)\s)?(?P<top>[0-9]{1,3})[/⁄](?P<bottom>[0-9]{1,3})(?![\w/%]|[.,][0-9])",
        _fraction,
    ),
    rule(rf"(?:(?P<whole>[0-9]+)\s?)?(?P<sign>[{''.join(_VULGAR)}])", _vulgar),
    rule(r"\b([0-9]{1,2})['′]\s?([0-9]{1,2})(?:\"|″|'')", r"\1 feet \2"),
    rule(r"(?<=[0-9])\s?[xX]\s?(?=[0-9])|(?<=[0-9]{2})×(?=[0-9]{2})", " by "),
    rule(r"(?<=\b[0-9])[xX](?=\s|[.,;!?)]|$)", " times"),
    rule(r"\b([0-9]+(?:\.[0-9]+)?)k\b", r"\1 thousand"),
    # ranges and signs
    rule(rf"(?<![\w.,/:-])({_NUMBER})\s?[–—]\s?({_NUMBER})(?![\w-])", r"\1 to \2"),
    rule(rf"(?<![\w.,/:-])({_NUMBER})-({_NUMBER})(?![\w-]|\.[0-9])", r"\1 to \2"),
    rule(r"(?<=[0-9])\s?–\s?(?=[0-9])", " to "),
    rule(r"(?<![\w.)])[-−](?=[0-9])|−(?=[0-9])", "minus "),
    rule(r"\b(?P<number>[0-9]+(?:\.[0-9]+)?)[eE](?P<sign>[-+−])?(?P<power>[0-9]{1,3})\b", _power_of_ten),
    # Roman numerals
    rule(
        rf"\b((?:{_REGNAL})\s)({_ROMAN})\b(?!\.[A-Z]|['’])", lambda match: f"{match[1]}the {ordinal(roman(match[2]))}"
    ),
    rule(rf"\b((?:{_NUMBERED})\s)({_ROMAN})\b(?!['’])", lambda match: f"{match[1]}{roman(match[2])}"),
    rule(
        r"(?<!\ban )(?<!\bAn )\b(?=[IVX]{2,}\b)X{0,3}(?:IX|IV|V?I{0,3})(?<=[IVX])\b(?![.'’-]\w)",
        lambda match: str(roman(match[0])),
    ),
)
"""In this order: what later ones say looks like nothing to earlier ones."""
