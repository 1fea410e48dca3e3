"""The partition spec: how a table is divided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Interval = Literal["day", "week", "month", "quarter", "year"]


class PartitionSpec(BaseModel):
    """One partitioned table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Annotated[str, StringConstraints(min_length=1)]
    """Schema and name, such as `public.events_event`; the schema defaults to public."""
    key: Annotated[str, StringConstraints(min_length=1)]
    """The partition key: a column of type date, timestamp or timestamptz that is never NULL."""
    interval: Interval = "month"
    """What one child table holds; its bounds are in UTC."""
    premake: Annotated[int, Field(ge=1, le=120)] = 3
    """How many periods ahead have a child table."""
    keep: Annotated[int, Field(ge=1, le=1200)] | None = 12
    """How many whole periods before the current one are kept; null: all."""
    retention: Literal["detach", "drop"] = "detach"
    """What happens to a child that is older: detach leaves it as a table of its own."""
    database: str | None = None
    """Default: the site's first database."""

    @property
    def schema_name(self) -> str:
        return self.table.rpartition(".")[0] or "public"

    @property
    def table_name(self) -> str:
        return self.table.rpartition(".")[2]
