"""The costs of a run, by the prices of prices.toml."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from simulation.world import World

FILE = Path(__file__).with_name("prices.toml")
FUNCTION_GB = 0.5
"""`lambda_memory_size` of .chalice/config.json."""
LINES_PER_SESSION = 20


@cache
def prices() -> dict[str, Any]:
    """The prices as they are declared."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def dollars(world: World) -> dict[str, float]:
    """By what they are paid for, for the whole run. The sweep's reads of unchanged records are not
    simulated, nor counted.
    """
    cell, totals = world.cell, world.cell.meter.totals
    amounts = {
        "requests": totals["requests"],
        "invocations": totals["invocations"],
        "gigabyte_seconds": cell.functions.billed_seconds * FUNCTION_GB,
        "write_units": totals["write units"],
        "read_units": totals["read units"],
        "messages": totals["messages"] * 3,  # sent, received, deleted
        "log_lines": totals["tasks started"] * LINES_PER_SESSION,
    }
    by_million = prices()["million"]
    found = {name: amount * by_million[name]["dollars"] / 1e6 for name, amount in amounts.items()}
    hours = cell.scaling.hours()
    found["hosts"] = hours * hourly_dollars(cell.shape.host.name)
    found["addresses"] = hours * hourly_dollars("public_address")
    return found


def hourly_dollars(name: str) -> float:
    """Dollars an hour of what prices.toml has under this name."""
    table = prices()["hourly"]
    for part in name.split("."):
        table = table[part]
    return float(table["dollars"])
