"""What all unit tests share: how much hypothesis tries."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no finding, and neither is luck: the same examples each time.
settings.register_profile("unit", max_examples=30, deadline=None, derandomize=True, database=None)
settings.load_profile("unit")
