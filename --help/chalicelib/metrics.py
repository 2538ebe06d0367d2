"""The dispatcher's metrics: CloudWatch's embedded metric format, and Prometheus's text format.

On AWS each observation is a line on stdout that CloudWatch Logs converts to a metric, without a
call or an agent. In the embedded cloud the process sums observations up for `/metrics`.
docs/operations.md lists the metrics.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

NAMESPACE = "Usher"
_UNITS = {"seconds": "Seconds"}


class Metrics(Protocol):
    """Receives observations. Labels have few values: app, reason, kind."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add `amount` to a counter."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a distribution, such as a duration or a size."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Record the present value."""


class EmbeddedMetrics:
    """One line of CloudWatch's embedded metric format for each observation."""

    def __init__(self, stage: str, write: Callable[[str], object] = sys.stdout.write) -> None:
        self._stage = stage
        self._write = write

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add `amount` to a counter."""
        self._emit(name, amount, "Count", labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a distribution, such as a duration or a size."""
        self._emit(name, value, _UNITS.get(name.rsplit("_", 1)[-1], "None"), labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Record the present value."""
        self._emit(name, value, "Count", labels)

    def _emit(self, name: str, value: float, unit: str, labels: dict[str, str]) -> None:
        dimensions = {"stage": self._stage, **labels}
        line = {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [list(dimensions)],
                        "Metrics": [{"Name": name, "Unit": unit}],
                    }
                ],
            },
            **dimensions,
            name: value,
        }
        self._write(json.dumps(line) + "\n")


class ProcessMetrics:
    """Sums in this process, in Prometheus's text format. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str, str], float] = {}
        self._counted_at: dict[str, float] = {}

    def counted_at(self, name: str) -> float | None:
        """Time of the last `count`, in seconds since 1970; None if there was none."""
        return self._counted_at.get(name)

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add `amount` to a counter."""
        self._counted_at[name] = time.time()
        self._add("counter", name, "_total", amount, labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a distribution, such as a duration or a size."""
        self._add("summary", name, "_count", 1, labels)
        self._add("summary", name, "_sum", value, labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Record the present value."""
        with self._lock:
            self._values["gauge", f"usher_{name}", _labels(labels)] = value

    def text(self) -> str:
        """All metrics in Prometheus's text exposition format, version 0.0.4."""
        with self._lock:
            values = sorted(self._values.items())
        lines: list[str] = []
        for (kind, name, labels), value in values:
            family = name.removesuffix("_count").removesuffix("_sum")
            header = f"# TYPE {family} {kind}"
            if header not in lines:
                lines.append(header)
            lines.append(f"{name}{labels} {value:g}")
        return "\n".join(lines) + "\n"

    def _add(
        self, kind: str, name: str, suffix: str, amount: float, labels: dict[str, str]
    ) -> None:
        key = (kind, f"usher_{name}{suffix}", _labels(labels))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""
