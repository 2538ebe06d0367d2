"""Parses input and formats output. Pure.

Raises UsageError for invalid input.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from usher.answers import Invocation, Schedule
from usher.errors import UsherError

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RELATIVE = re.compile(r"\+([0-9]+(?:\.[0-9]+)?)([smhd])")
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(.*)", re.DOTALL)


class UsageError(UsherError):
    """The command line is invalid; exit code 2."""


def parse_pairs(
    arguments: Sequence[str], schema: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Parse `name=value` pairs; a value that is JSON is parsed, any other is a string.

    `schema`: the JSON Schema of the parameters; if it allows only strings, the value is a string.
    """
    parameters: dict[str, Any] = {}
    for word in arguments:
        match = _PAIR.fullmatch(word)
        if not match:
            raise UsageError(f"{word!r} is not name=value; a file or - must come alone")
        if match[1] in parameters:
            raise UsageError(f"{match[1]} is given twice")
        value = _value(match[2])
        kinds = _kinds(schema or {}, match[1])
        takes_null = value is None and "null" in kinds
        if not isinstance(value, str) and not takes_null and kinds - {"null"} == {"string"}:
            value = match[2]
        parameters[match[1]] = value
    return parameters


def _kinds(schema: Mapping[str, Any], name: str) -> set[str]:
    """The types in a schema of a parameter; empty if it has none."""
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, Mapping) else None
    return _types(found, schema.get("$defs"), depth=4)


def _types(schema: Any, definitions: Any, depth: int) -> set[str]:
    if not isinstance(schema, Mapping) or depth == 0:
        return set()
    if isinstance(reference := schema.get("$ref"), str) and isinstance(definitions, Mapping):
        return _types(definitions.get(reference.removeprefix("#/$defs/")), definitions, depth - 1)
    if isinstance(choices := schema.get("anyOf"), list):
        kinds = [_types(choice, definitions, depth - 1) for choice in choices]
        return set().union(*kinds) if all(kinds) else set()
    named = schema.get("type")
    return {named} if isinstance(named, str) else set(named) if isinstance(named, list) else set()


def are_pairs(arguments: Sequence[str]) -> bool:
    """Whether parameters are pairs, and not one file or object."""
    return len(arguments) != 1 or _PAIR.fullmatch(arguments[0]) is not None


def parse_json(text: str, where: str) -> Any:
    """Parameters out of a file."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json)
    except ValueError:
        return text


def _no_json(name: str) -> Any:
    raise ValueError(name)  # Python accepts NaN and Infinity, JSON does not


def parse_instant(text: str, now: datetime) -> datetime:
    """`2026-01-31T09:00:00Z` with a time zone, or `+90s`, `+10m`, `+2h`, `+1d` from now."""
    if match := _RELATIVE.fullmatch(text):
        return now + timedelta(seconds=float(match[1]) * SECONDS[match[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no instant: 2026-01-31T09:00:00Z, or +10m") from None
    if at.tzinfo is None:
        raise UsageError(f"{text!r} has no time zone: add Z or +02:00")
    return at.astimezone(UTC)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'a' or 'b'?` for the most similar known names, at most three; else ""."""
    names = difflib.get_close_matches(word.lower(), list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, one for each row."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def when(at: datetime | None) -> str:
    """A time to the second, in UTC."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def outcome(invocation: Invocation) -> str:
    """`succeeded`, `failed (exit 3)`, or the state of one that has not ended."""
    if not invocation.has_ended:
        return invocation.state
    code = invocation.exit_code
    return f"{invocation.reason or invocation.state}" + (f" (exit {code})" if code else "")


def waits_for(invocation: Invocation) -> str:
    """Why it waits; empty for a running one."""
    if invocation.state in {"LAUNCHING", "LAUNCHED"}:
        return "its container is being started; an image that is not there yet is built or pulled"
    waiting = _waiting(invocation)
    return f"{invocation.state}: {waiting}" if waiting else ""


def detail(invocation: Invocation) -> str:
    """Details besides the reason."""
    is_repeated = invocation.detail in (None, invocation.reason)
    return "" if is_repeated else printable(str(invocation.detail))


def invocation_lines(invocation: Invocation) -> list[str]:
    """All fields of an invocation."""
    facts = [
        ("invocation", invocation.id),
        ("job", _with_revision(invocation)),
        ("state", outcome(invocation)),
        ("detail", detail(invocation)),
        ("waiting", _waiting(invocation)),
        ("progress", _progress(invocation)),
        ("priority", invocation.priority),
        ("attempt", str(invocation.attempt or "")),
        ("schedule", _schedule(invocation)),
        ("rerun of", invocation.rerun_of or ""),
        ("created", when(invocation.created_at)),
        ("not before", when(invocation.at)),
        ("not after", when(invocation.not_after)),
        ("started", when(invocation.started_at)),
        ("finished", when(invocation.finished_at)),
        ("took", _usage(invocation)),
        ("task", invocation.task_arn or ""),
        ("parameters", _json(invocation.parameters)),
        ("result", _json(invocation.result)),
    ]
    lines = [f"{name + ':':<12} {printable(value)}" for name, value in facts if value]
    if invocation.history:
        lines += ["history:"]
        lines += [
            f"  {when(change.at)}  {change.state:<14}  {printable(change.cause)}".rstrip()
            for change in invocation.history
        ]
    return lines


def invocation_row(invocation: Invocation) -> tuple[str, ...]:
    """One line of a list, below INVOCATION_COLUMNS."""
    created = when(invocation.created_at)
    return invocation.id, invocation.job, outcome(invocation), created, detail(invocation)[:60]


INVOCATION_COLUMNS = ("INVOCATION", "JOB", "STATE", "CREATED", "DETAIL")
AUDIT_COLUMNS = ("AT", "WHO", "ADDRESS", "ACTION", "RESOURCE", "OUTCOME", "CHANGES")
SCHEDULE_COLUMNS = ("SCHEDULE", "JOB", "EXPRESSION", "TIME ZONE", "NEXT RUN")


def schedule_row(
    schedule: Schedule, here: Callable[[datetime], datetime] | None = None
) -> tuple[str, ...]:
    """One line of a list, below SCHEDULE_COLUMNS. `here` as for `schedule_lines`."""
    runs = schedule.next_runs
    next_run = _run(runs[0], schedule.timezone, here) if runs else "never"
    next_column = "paused" if schedule.paused else next_run
    return schedule.id, schedule.job, schedule.expression, schedule.timezone, next_column


def audit_row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of a list, below AUDIT_COLUMNS."""
    names = ("who", "address", "action", "resource", "outcome")
    cells = [str(record.get(name) or "") for name in names]
    at = when(datetime.fromisoformat(record["at"]))
    return at, *cells, _changes(record)


def _changes(record: Mapping[str, Any]) -> str:
    """The changed fields: `state: QUEUED to FINISHED`."""
    before, after = record.get("before") or {}, record.get("after") or {}
    if not before or not after:
        return str(record.get("reason") or "")
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name}: {before.get(name)} to {after.get(name)}" for name in changed)


def printable(text: str, keep: str = "") -> str:
    """Without characters that move a terminal's cursor, end a line or change its direction: they
    are escaped as in JSON, so that JSON stays equivalent.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else json.dumps(c)[1:-1] for c in text)


def schedule_lines(
    schedule: Schedule, here: Callable[[datetime], datetime] | None = None
) -> list[str]:
    """All fields of a schedule. `here` converts a time to the reader's time zone."""
    facts = [
        ("schedule", schedule.id),
        ("job", schedule.job),
        ("expression", f"{schedule.expression} in {schedule.timezone}"),
        ("paused", "yes" if schedule.paused else "no"),
        ("overlap", schedule.overlap),
        ("gap", schedule.gap),
        ("misfire", "" if schedule.misfire_seconds is None else f"{schedule.misfire_seconds} s"),
        ("priority", schedule.priority or ""),
        ("parameters", _json(schedule.parameters)),
        ("last run", when(schedule.last_planned_at)),
        ("", schedule.last_invocation or ""),
    ]
    lines = [f"{name + ':' if name else '':<12} {value}" for name, value in facts if value]
    return [
        *lines,
        "next runs:",
        *(f"  {_run(run, schedule.timezone, here)}" for run in schedule.next_runs),
    ]


def _run(at: datetime, timezone: str, here: Callable[[datetime], datetime] | None) -> str:
    """A time in UTC, in the schedule's time zone, and in the reader's if that differs."""
    parts = [when(at)]
    try:
        there = at.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError):
        there = at  # this machine does not have the zone: use UTC
    if there.utcoffset():
        parts.append(f"{there:%a %H:%M} in {timezone}")
    ours = at if here is None else here(at)
    if ours.utcoffset() not in {at.utcoffset(), there.utcoffset()}:
        parts.append(f"{ours:%a %H:%M} here")
    return "  ".join(parts)


def _with_revision(invocation: Invocation) -> str:
    revision = "" if invocation.revision is None else f" (revision {invocation.revision})"
    return invocation.job + revision


def _waiting(invocation: Invocation) -> str:
    waiting = invocation.waiting
    if waiting is None:
        return ""
    ahead = "" if waiting.ahead is None else f", {waiting.ahead} before it"
    next_try = "" if waiting.next_try_at is None else f", next try {when(waiting.next_try_at)}"
    return f"{waiting.because}{ahead}{next_try}"


def _progress(invocation: Invocation) -> str:
    progress = invocation.progress
    if progress is None:
        return ""
    fraction = "" if progress.fraction is None else f"{progress.fraction:.0%} "
    return fraction + progress.message


def _schedule(invocation: Invocation) -> str:
    if invocation.schedule is None:
        return ""
    return f"{invocation.schedule}, planned for {when(invocation.planned_at)}"


def _usage(invocation: Invocation) -> str:
    usage = invocation.usage
    if usage is None:
        return ""
    return (
        f"{usage.wall_seconds:.1f} s, {usage.cpu_seconds:.1f} s of CPU, "
        f"{usage.max_memory_mib:.0f} MiB at most"
    )


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
