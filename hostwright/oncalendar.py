"""systemd's OnCalendar expressions, as far as their grammar goes. systemd.time(7) describes them."""

from __future__ import annotations

import re
import zoneinfo

SHORTHANDS = [
    "minutely",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "semi-annually",
    "biannually",
    "bi-annually",
    "annually",
    "yearly",
]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_DAY = "(?:" + "|".join(f"{day[:3]}(?:{day[3:]})?" for day in DAYS) + ")"
_DAYS = re.compile(rf"({_DAY})(?:(?:\.\.|-)({_DAY}))?", re.IGNORECASE)
_DATE = re.compile(r"(?:(?P<year>[^-~]+)-)?(?P<month>[^-~]+)(?:-(?P<day>[^-~]+)|~(?P<day_from_end>[^-~]+))")
_TIME = re.compile(r"(?P<hour>[^:]+):(?P<minute>[^:]+)(?::(?P<second>[^:]+))?")

RANGES = {
    "year": (1970, 2199),
    "month": (1, 12),
    "day": (1, 31),
    "day_from_end": (1, 28),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59.999999),
}


def is_valid(expression: str) -> bool:
    """Whether `expression` is one: a shorthand, or days of the week, date and time, each of which may be left out."""
    words = expression.split()
    if words and words[0].lower() in SHORTHANDS:
        return len(words) == 1 or (len(words) == 2 and _is_zone(words[1]))
    found = 0
    for is_part in (_is_weekdays, _is_date, _is_time):
        if words and is_part(words[0]):
            words.pop(0)
            found += 1
    return found > 0 and (not words or (len(words) == 1 and _is_zone(words[0])))


def _is_zone(word: str) -> bool:
    return word == "UTC" or word in zoneinfo.available_timezones()


def _is_weekdays(word: str) -> bool:
    for item in word.removesuffix(",").split(","):
        match = _DAYS.fullmatch(item)
        if not match:
            return False
        first, last = (DAYS.index(next(d for d in DAYS if d.startswith(day.lower()))) for day in match.groups(match[1]))
        if last < first:
            return False
    return True


def _is_date(word: str) -> bool:
    return _is_made_of(_DATE, word)


def _is_time(word: str) -> bool:
    return _is_made_of(_TIME, word)


def _is_made_of(pattern: re.Pattern[str], word: str) -> bool:
    found = pattern.fullmatch(word)
    return found is not None and all(_is_list(text, *RANGES[unit], unit) for unit, text in found.groupdict("*").items())


def _is_list(text: str, low: float, high: float, unit: str) -> bool:
    """`*`, or numbers and ranges of them with commas between them, each with a step if need be."""
    number = r"\d+(?:\.\d{1,6})?" if unit == "second" else r"\d+"
    if text == "*":
        return True
    for item in text.split(","):
        match = re.fullmatch(rf"({number})(?:\.\.({number}))?(?:/({number}))?", item)
        if not match:
            return False
        first, last, step = (float(group) if group else None for group in match.groups())
        if unit == "year":
            first, last = _year(first), _year(last)
        if first is None or step == 0 or not low <= first <= (high if last is None else last) <= high:
            return False
        # A step that is never taken is a mistake to systemd; from the end of a month, steps lead to its beginning.
        if step and last is None and step > (first - low if unit == "day_from_end" else high - first):
            return False
    return True


def _year(number: float | None) -> float | None:
    """One of two digits is of 1970 to 2069."""
    if number is None or number >= 100:
        return number
    return number + (2000 if number < 70 else 1900)
