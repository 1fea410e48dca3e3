"""The partition spec: how a table is divided."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PartitionSpec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
