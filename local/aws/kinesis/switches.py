"""How true to Kinesis's limits the stream is, as `/_local/kinesis` sets it. Pure.

read_limits        true: 5 reads and 2 MiB a second for each shard, as on AWS
write_limits       false: 1,000 records and 1 MiB a second for each shard are not enforced
iterator_seconds   300: for so long an iterator may be used
put_failures       0: probability that a record of PutRecords is refused
seed               0: of the dice for it
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Switches:
    """The switches; the names are those of the document."""

    read_limits: bool = True
    write_limits: bool = False
    iterator_seconds: float = 300.0
    put_failures: float = 0.0
    seed: int = 0

    def with_changes(self, document: Mapping[str, Any]) -> "Switches":
        """These switches with those of the document. Raises ValueError."""
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        changes = {}
        for name, value in document.items():
            kind = known.get(name)
            if kind is None:
                raise ValueError(f"unknown: {name}")
            if kind is bool:
                if not isinstance(value, bool):
                    raise ValueError(f"{name}: true or false")
            elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{name}: a number that is not negative")
            changes[name] = kind(value)
        return replace(self, **changes)
