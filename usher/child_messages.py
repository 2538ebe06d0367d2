"""Messages of the child to its parent over a pipe: a line of JSON each. Pure.

The child runs user code, so the parent checks all of it and keeps at most `MAX_LINE_BYTES`.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from chalicelib.contract.jobs import MAX_MESSAGE_CHARACTERS, MAX_RESULT_BYTES, Outcome
from chalicelib.contract.text import readable
from usher.protocol import read_object, shortened

MAX_LINE_BYTES = MAX_RESULT_BYTES + 16_384
"""Space for a result and the rest of its line."""


class UnfitResultError(Exception):
    """An invalid result; the message has the reason and a remedy."""


@dataclass(frozen=True)
class Progress:
    """The progress that the run reports."""

    fraction: float | None
    message: str


@dataclass(frozen=True)
class End:
    """The child's last message: how `run` ended."""

    outcome: Outcome
    detail: str = ""
    result: Any = None


def progress_of(fraction: float | None, message: str) -> Progress:
    """Progress within its bounds, for any arguments: user code must not fail because of it."""
    if fraction is not None:
        try:
            fraction = float(fraction)
        except (TypeError, ValueError, OverflowError):
            fraction = None
    if fraction is not None:
        fraction = None if math.isnan(fraction) else min(1.0, max(0.0, fraction))
    return Progress(fraction, readable(shortened(str(message)), MAX_MESSAGE_CHARACTERS))


def progress_line(progress: Progress) -> bytes:
    return _line({"fraction": progress.fraction, "message": progress.message})


def end_line(end: End) -> bytes:
    return _line(
        {"outcome": end.outcome.value, "detail": shortened(end.detail), "result": end.result}
    )


def check_result(result: Any) -> None:
    """Raises UnfitResultError unless it is JSON and small enough."""
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnfitResultError(f"the result is not JSON: {error}") from error
    if len(text) > MAX_RESULT_BYTES:
        raise UnfitResultError(
            f"the result has {len(text)} bytes as JSON, and {MAX_RESULT_BYTES} are kept: store it "
            "elsewhere and return where it is"
        )


def _line(document: dict[str, Any]) -> bytes:
    # A lone surrogate in a message must not lose the line.
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class LineDecoder:
    """Converts bytes to messages. A line that is too long or invalid is skipped."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._skips = False

    def receive(self, data: bytes) -> list[Progress | End]:
        messages = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._keep(line)
            message = None if self._skips else _message(bytes(self._kept))
            if message is not None:
                messages.append(message)
            self._kept.clear()
            self._skips = False
        self._keep(rest)
        return messages

    def _keep(self, data: bytes) -> None:
        if not self._skips:
            self._kept += data
        if len(self._kept) > MAX_LINE_BYTES:
            self._kept.clear()
            self._skips = True


def _message(line: bytes) -> Progress | End | None:
    document = read_object(line)
    if "outcome" in document:
        try:
            outcome = Outcome(document["outcome"])
        except ValueError:
            return None
        return End(outcome, str(document.get("detail") or ""), document.get("result"))
    if "message" in document:
        return progress_of(document.get("fraction"), document["message"])
    return None
