"""Celery: its application, its scheduler, its broker."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Literal

from hostwright.init.reading import Reading
from hostwright.init.sources import VAULT
from hostwright.init.values import Unknown, Variable, items

SCHEDULES = re.compile(r"beat_schedule|\badd_periodic_task\b|\bon_after_(configure|finalize)\b")
"""How a Celery application says that it has a schedule."""
SCHEDULERS = ("CELERY_BEAT_SCHEDULER", "CELERYBEAT_SCHEDULER")
BROKERS = ("CELERY_BROKER_URL", "BROKER_URL")


@dataclass(frozen=True)
class Celery:
    app: str
    beat: bool = False
    scheduler: str = ""


@dataclass(frozen=True)
class Broker:
    kind: Literal["redis", "amqp", ""] = ""
    variable: str = ""
    """What its URL is read from, or should be; empty where the settings say it."""


def celery(reading: Reading) -> Celery | None:
    for path in reading.named("celery.py", "celery_app.py", depth=3):
        text = reading.sources.text(path) or ""
        if re.search(r"\bCelery\(", text):
            module, scheduler = reading.name(path).removesuffix(".celery"), _scheduler(reading)
            scheduled = SCHEDULES.search(text) or any(
                name.endswith("BEAT_SCHEDULE") for name in reading.settings.values
            )
            if not scheduled and not scheduler:
                _may_have_scheduler(reading)
            return Celery(module, bool(scheduled or scheduler), scheduler)
    if "celery" in reading.required.names:
        reading.site_needs("celery: it is required, and no celery.py was found")
    return None


def _scheduler(reading: Reading) -> str:
    named = next(filter(None, map(reading.value, SCHEDULERS)), None)
    if isinstance(named, str):
        return named
    apps = reading.value("INSTALLED_APPS")
    return "django_celery_beat.schedulers:DatabaseScheduler" if "django_celery_beat" in items(apps) else ""


def _may_have_scheduler(reading: Reading) -> None:
    unknown = [app for app in items(reading.value("INSTALLED_APPS")) if isinstance(app, Unknown)]
    if unknown and ("django-celery-beat" in reading.required.names or not reading.required.names):
        reading.site_needs(
            f"celery.beat: INSTALLED_APPS {unknown[0].why}: true, where django_celery_beat is among them"
        )


def broker(reading: Reading) -> Broker:
    setting = next((name for name in BROKERS if reading.value(name)), BROKERS[0])
    value = reading.value(setting)
    variable = value.name if isinstance(value, Variable) else ""
    said = value.default if isinstance(value, Variable) else value
    url = _split(said)
    names = reading.required.names
    if url.scheme in ("amqp", "pyamqp"):
        reading.needs.append((VAULT, "vault_amqp_password: one of letters and digits, which fit into a URL"))
        if not variable:
            reading.need(f'{setting} lacks that password: {setting} = os.environ["{setting}"]')
        return Broker("amqp", variable or setting)
    by_name = (variable or not url.scheme) and ("redis" in names or "redis" in names.get("celery", ""))
    if url.scheme.startswith("redis") or by_name:
        if not variable and url.hostname not in (None, "localhost", "127.0.0.1"):
            reading.need(f"{setting} has the host {url.hostname}: on this server Redis is at 127.0.0.1")
        return Broker("redis", variable)
    reading.site_needs("services: which broker Celery uses; redis: {} or amqp describes it")
    return Broker()


def other_redis(reading: Reading, broker: Broker) -> None:
    """Redis may hold the cache, or channels, of a site whose tasks have another broker, or that has none."""
    for setting in ("CACHES", "CHANNEL_LAYERS"):
        if broker.kind != "redis" and "redis" in str(reading.value(setting)).lower():
            reading.site_needs(f"services.redis: {setting} uses it; redis: {{}} has it installed")
            return


def _split(url: object) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(url if isinstance(url, str) else "")
    except ValueError:  # Brackets that are no address.
        return urllib.parse.urlsplit("")
