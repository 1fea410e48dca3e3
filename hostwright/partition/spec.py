"""The partition spec: how a table is divided."""

from __future__ import annotations

import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError


def _no_boolean(value: Any) -> Any:
    """What YAML reads `yes` and `no` as would be 1 and 0 for Python."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Interval = Literal["hour", "day", "week", "month", "quarter", "year"]
Strategy = Literal["declarative", "landing", "trigger"]


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be text or a whole number: put yes, no, on and off in quotes")
    return value


Value = Annotated[str | int, BeforeValidator(_value)]
"""Of a key that rows are told apart by."""


def _zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"no time zone is called {name}; they have names such as Europe/Vienna")
    return name


def _table(name: str) -> str:
    if "\0" in name or name.count(".") > 1 or not all(name.split(".")):
        raise ValueError("must be a table's name, or schema.table")
    return name


class TableSpec(BaseModel):
    """What the specs of a table have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    table: Annotated[str, StringConstraints(min_length=1), AfterValidator(_table)]
    """Schema and name, such as `public.events_event`; the schema defaults to public."""
    database: str | None = None
    """Default: the site's first database."""

    @property
    def schema_name(self) -> str:
        return self.table.rpartition(".")[0] or "public"

    @property
    def table_name(self) -> str:
        return self.table.rpartition(".")[2]

    @property
    def names(self) -> tuple[str, str]:
        """What the table may be called: with its schema, and without."""
        return f"{self.schema_name}.{self.table_name}", self.table_name


class SplitSpec(TableSpec):
    """One table whose wide columns are kept in a table of their own, behind a view of its name."""

    wide: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)]
    """The columns that are kept apart: those that are large and seldom asked for. The primary key is none of them."""

    @model_validator(mode="after")
    def _consistent(self) -> SplitSpec:
        twice = sorted({name for name in self.wide if self.wide.count(name) > 1})
        if twice:
            raise ValueError(f"wide: there twice: {', '.join(twice)}")
        return self


class ArchiveServer(BaseModel):
    """Another PostgreSQL server, where `fab partition.archive` puts children."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    server: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/._:-]+$")]
    """Its name or address, as the database host knows it; or the directory of a unix socket there."""
    port: Annotated[Whole, Field(ge=1, le=65535)] = 5432
    name: Annotated[str, StringConstraints(min_length=1)]
    """The database there."""
    user: Annotated[str, StringConstraints(min_length=1)]
    """A role that may make tables in `in_schema`."""
    password: SecretStr
    """The server must ask for it: PostgreSQL lets no role but a superuser read from elsewhere without one."""
    in_schema: Annotated[str, StringConstraints(min_length=1)] = "public"
    """The schema there."""
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    """As libpq has it."""
    place: Literal["beside", "inside"] = "beside"
    """`beside`: archived rows are read through the view TABLE_archive, and queries of the table never ask the other
    server; `inside`: they stay rows of the table, and a query that says no period asks the other server too."""


class Subpartition(BaseModel):
    """How each child is divided once more. The column is in the primary key then."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key: Annotated[str, StringConstraints(min_length=1)]
    """A column that is never NULL."""
    method: Literal["list", "hash"] = "hash"
    """How rows of one child are told apart."""
    values: dict[str, list[Value]] = {}
    """Of a `list`: suffix of the name -> values. A row with another value is refused."""
    modulus: Annotated[Whole, Field(ge=2, le=128)] = 4
    """Of a `hash`: the number of tables that a child is made of."""

    @model_validator(mode="after")
    def _consistent(self) -> Subpartition:
        _check_values(self.method, self.values)
        return self


def _check_values(method: str, values: dict[str, list[str | int]]) -> None:
    if "" in values:
        raise ValueError("values: a child needs a suffix for its name")
    empty = [suffix for suffix, those in values.items() if not those]
    if empty:
        raise ValueError(f"values: none for {', '.join(empty)}")
    if method == "list" and not values:
        raise ValueError("method: list needs values")
    if values and method != "list":
        raise ValueError("values are for method: list")
    seen = [value for those in values.values() for value in those]
    twice = sorted({str(value) for value in seen if seen.count(value) > 1})
    if twice:
        raise ValueError(f"values: in two children at once: {', '.join(twice)}")


class PartitionSpec(TableSpec):
    """One partitioned table."""

    key: Annotated[str, StringConstraints(min_length=1)]
    """The partition key: a column that is never NULL. For `range` a date, timestamp, timestamptz or an integer."""
    method: Literal["range", "list", "hash"] = "range"
    """How rows are told apart. `list` and `hash` need a server with declarative partitions (11); their children are
    made once."""
    interval: Interval | Annotated[Whole, Field(ge=1)] = "month"
    """What one child table of a range holds: a period of time, or that many values of an integer key."""
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Where periods of time begin at midnight. For keys without a time zone: the zone that their values are of."""
    values: dict[str, list[Value]] = {}
    """The children of a `list`: suffix of the name -> values."""
    modulus: Annotated[Whole, Field(ge=2, le=1024)] = 8
    """The number of children of a `hash`."""
    subpartition: Subpartition | None = None
    """Each child that is made from now on is divided by list or hash; null: it is not. For `declarative`."""
    overflow: Literal["error", "default"] = "error"
    """What becomes of a row that no child is for. `error`: it is refused; `default`: it goes to a DEFAULT partition,
    beside which no child can be detached concurrently. Under `landing` and `trigger` it always stays in the parent."""
    strategy: Strategy | Literal["auto"] = "auto"
    """`declarative`: PostgreSQL's own partitions; `landing`: new rows stay in the parent until their period is over;
    `trigger`: a BEFORE trigger sends each row to its child; `auto` picks by the server's version."""
    adopt: Literal["attach", "drain", "copy"] = "attach"
    """How a plain table with rows becomes a declarative one. `attach`: all that is there becomes the first child, and
    nothing is copied; `drain`: rows are moved to the child of their period in small batches, with writers on; `copy`:
    in one transaction, with the table locked."""
    premake: Annotated[Whole, Field(ge=1, le=120)] = 3
    """How many periods ahead have a child table."""
    keep: Annotated[Whole, Field(ge=1, le=1200)] | None = 12
    """How many whole periods before the current one are kept; null: all."""
    retention: Literal["detach", "archive", "drop"] = "detach"
    """What happens to a child that is older: `detach` leaves it as a table of its own, `archive` moves that to another
    schema, `drop` removes it with its rows."""
    archive_schema: Annotated[str, StringConstraints(min_length=1)] = "archive"
    """Where `retention: archive` puts children; it is made where it is missing."""
    archive: ArchiveServer | None = None
    """Where `fab partition.archive` puts the children that are older than `keep`; null: files only."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that say which table a row is in: its child's, then that of a part of it."""
        return (self.key, self.subpartition.key) if self.subpartition else (self.key,)

    @model_validator(mode="after")
    def _consistent(self) -> PartitionSpec:
        _check_values(self.method, self.values)
        if self.method != "range" and self.strategy not in ("auto", "declarative"):
            raise ValueError(f"method: {self.method} needs strategy: declarative")
        if self.archive and self.method != "range":
            raise ValueError("archive is for method: range")
        if self.archive and self.retention == "drop":
            raise ValueError("retention: drop would drop what is to be archived; use detach")
        if "default" in self.values and self.overflow == "default":
            raise ValueError("values: the child of overflow: default has that name already")
        if self.method == "hash" and self.overflow == "default":
            raise ValueError("overflow: default is for ranges and lists; every row has its place in a hash")
        if self.subpartition:
            if self.strategy not in ("auto", "declarative"):
                raise ValueError("subpartition needs strategy: declarative")
            if self.adopt == "drain":
                raise ValueError("subpartition goes with adopt: attach (what is there stays in one piece) or copy")
            if self.subpartition.key == self.key:
                raise ValueError("subpartition.key has to be another column than key")
        if self.interval == "hour" and self.timezone != "UTC":
            raise ValueError("interval: hour needs timezone: UTC (an hour can happen twice elsewhere)")
        return self


def _kind(value: Any) -> str:
    is_split = "wide" in value if isinstance(value, dict) else isinstance(value, SplitSpec)
    return SplitSpec.__name__ if is_split else PartitionSpec.__name__


Spec = Annotated[
    Annotated[PartitionSpec, Tag(PartitionSpec.__name__)] | Annotated[SplitSpec, Tag(SplitSpec.__name__)],
    Discriminator(_kind),
]
"""A table of the site model's `partitions`: with `wide` it is split, else divided."""
