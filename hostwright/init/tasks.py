"""Celery: its application, its scheduler, its broker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hostwright.init.reading import Reading


@dataclass(frozen=True)
class Celery:
    app: str
    beat: bool = False
    scheduler: str = ""


def celery(reading: Reading) -> Celery | None:
    apps = reading.value("INSTALLED_APPS")
    beat_app = isinstance(apps, list) and "django_celery_beat" in apps
    for path in [p for name in ("celery.py", "celery_app.py") for p in reading.sources.named(name, reading.base, 3)]:
        text = reading.sources.text(path) or ""
        if not re.search(r"\bCelery\(", text):
            continue
        module = reading.name(path).removesuffix(".celery")
        scheduled = "beat_schedule" in text or any(name.endswith("BEAT_SCHEDULE") for name in reading.settings.values)
        scheduler = "django_celery_beat.schedulers:DatabaseScheduler" if beat_app else ""
        return Celery(module, scheduled or beat_app, scheduler)
    if "celery" in reading.required.names:
        reading.site_needs("celery: it is required, and no celery.py was found")
    return None


def broker(reading: Reading) -> Literal["redis", "amqp", ""]:
    url = str(reading.value("CELERY_BROKER_URL") or reading.value("BROKER_URL") or "")
    if url.startswith(("amqp", "pyamqp")):
        return "amqp"
    if (
        url.startswith("redis")
        or "redis" in reading.required.names
        or "redis" in reading.required.names.get("celery", "")
    ):
        return "redis"
    reading.site_needs("services: which broker Celery uses; redis: {} or amqp describes it")
    return ""
