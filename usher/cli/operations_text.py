"""The output of commands for operators: rows, lines, and the screen of `usher top`. Pure."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from usher.cli.text import printable, table, when

Document = Mapping[str, Any]

SESSION_COLUMNS = ("SESSION", "APP", "STATE", "OWNER", "REVISION", "CREATED", "HOST")
SESSION_FACTS = (
    *("id", "app", "state", "reason", "detail", "owner", "revision", "address", "taskArn", "host"),
    *("createdAt", "readyAt", "connectBy", "endedAt"),
)
HOST_COLUMNS = ("HOST", "INSTANCE", "STATE", "ZONE", "TASKS", "CPU LEFT", "MEMORY LEFT", "SINCE")
GROUP_COLUMNS = (
    *("GROUP", "TIER", "TAKEN", "GUARANTEED", "MAXIMUM", "BORROWED", "WAITING", "PACE"),
)
RESOURCES = ("places", "cpu", "memory")
LATE_SWEEP_SECONDS = 300
LONG_WAIT_SECONDS = 900
BLOCKS = "▁▂▃▄▅▆▇█"
SPARK_COLUMNS = 72
"""Six hours in steps of five minutes."""
TREND = {
    "active": "sessions in use",
    "coming": "sessions to come",
    "warm": "warm containers",
    "jobsRunning": "jobs that run",
    "jobsWaiting": "jobs that wait",
    "starts": "starts a minute",
    "addressP50": "address, p50 s",
    "addressP99": "address, p99 s",
}


def session_row(session: Document) -> tuple[str, ...]:
    """One line of a list, below SESSION_COLUMNS."""
    return (
        str(session["id"]),
        str(session["app"]),
        str(session["state"]),
        str(session.get("owner") or "nobody, warm"),
        str(session.get("revision") or ""),
        _instant(session.get("createdAt")),
        str(session.get("host") or "").rpartition("/")[2],
    )


def session_lines(session: Document) -> list[str]:
    """All fields of a session."""
    facts = [(name, session.get(name)) for name in SESSION_FACTS]
    lines = [f"{name + ':':<12} {printable(str(value))}" for name, value in facts if value]
    changes = session.get("history") or ()
    return [
        *lines,
        "history:",
        *(
            f"  {_instant(c['at'])}  {c['state']:<9}  {printable(c.get('cause') or '')}".rstrip()
            for c in changes
        ),
    ]


def group_row(group: Document) -> tuple[str, ...]:
    """One line of a list, below GROUP_COLUMNS; amounts are places/CPU units/MiB."""
    pace = group.get("secondsBetweenStarts")
    amounts = ("taken", "guaranteed", "maximum", "borrowed")
    return (
        str(group["name"]),
        str(group.get("tier") or ""),
        *(_amount(group.get(each) or {}) for each in amounts),
        str(group.get("waiting", "")),
        "" if pace is None else f"{pace:.1f} s",
    )


def _amount(amount: Document) -> str:
    numbers = [amount.get(each) for each in RESOURCES]
    if all(n is None for n in numbers):
        return "-"
    return "/".join("-" if n is None else str(n) for n in numbers)


def host_row(host: Document) -> tuple[str, ...]:
    """One line of a list, below HOST_COLUMNS."""
    state = "leaving" if host.get("leaving") else str(host.get("status") or "")
    state += "" if host.get("connected", True) else ", no agent"
    return (
        str(host["id"]),
        str(host.get("instance") or ""),
        state,
        str(host.get("zone") or ""),
        f"{host.get('runningTasks', 0)} + {host.get('pendingTasks', 0)}",
        _left_of(host.get("cpu")),
        _left_of(host.get("memory")),
        _instant(host.get("registeredAt")),
    )


def problems_of(overview: Document, apps: Iterable[Document]) -> list[str]:
    """The problems, as on the console's first page."""
    problems = []
    for app in apps:
        if app.get("state") in {"refused", "failing"}:
            tried = ", no further one is tried for a while" if app["state"] == "refused" else ""
            why = f": {app['reason']}" if app.get("reason") else ""
            failures = f"{app.get('failures')} starts of revision {app.get('revision')} in a row"
            problems.append(f"{app['name']}: {failures} failed{tried}{why}")
    problems += _alarms(overview)
    for name, count in (overview.get("deadLetters") or {}).items():
        if count:
            messages = "1 message" if count == 1 else f"{count} messages"
            problems.append(f"{messages} about {name} given up: queue usher-STAGE-{name}-dead")
    sweep = overview.get("sweep")
    late = _age(overview, sweep["finishedAt"]) if sweep else None
    if late is None:
        problems.append("no pass of the sweep has ended yet")
    elif late > LATE_SWEEP_SECONDS:
        problems.append(f"the last pass of the sweep ended {_duration(late)} ago")
    if sweep and sweep.get("skipped"):
        problems.append(f"the last pass of the sweep skipped {sweep['skipped']} pages")
    if overview.get("orphans"):
        problems.append(f"the last sweep stopped {overview['orphans']} tasks that nothing claimed")
    problems += _hosts(overview)
    waited = _age(overview, (overview.get("jobs") or {}).get("oldestWaitingSince"))
    if waited is not None and waited > LONG_WAIT_SECONDS:
        problems.append(f"a job waits for {_duration(waited)}")
    return problems


def _alarms(overview: Document) -> list[str]:
    alarms = overview.get("alarms", ())
    if alarms is None:
        return ["CloudWatch does not say which alarms are open"]
    return [
        f"the alarm {alarm['name']} is open"
        + ("" if (age := _age(overview, alarm.get("since"))) is None else f" for {_duration(age)}")
        + (f": {alarm['reason']}" if alarm.get("reason") else "")
        for alarm in alarms
    ]


def _hosts(overview: Document) -> list[str]:
    hosts = overview.get("hosts", {})
    if hosts is None:
        return ["ECS does not say which hosts there are"]
    return [f"host {host} takes no more tasks" for host in hosts.get("leaving", ())]


def top_lines(overview: Document, apps: Sequence[Document], width: int) -> list[str]:
    """The screen of `usher top`: problems first, then what runs; no line exceeds the width."""
    jobs = overview.get("jobs") or {}
    waiting = jobs.get("waiting") or {}
    by_priority = ", ".join(f"{count} {name}" for name, count in waiting.items() if count)
    capacity = f" of {jobs['capacity']}" if jobs.get("capacity") else ""
    oldest = _age(overview, jobs.get("oldestWaitingSince"))
    problems = problems_of(overview, apps)
    wrong = [f"! {problem}" for problem in problems] or ["nothing is wrong that this shows"]
    facts = [
        ("sessions", _sessions(overview)),
        ("address", _time_to_address(overview)),
        ("starts", f"{overview.get('startsInLastMinute', '?')} in a minute"),
        ("jobs", f"{jobs.get('running', '?')}{capacity} running"),
        ("waiting", f"{sum(waiting.values())}" + (f" ({by_priority})" if by_priority else "")),
        ("oldest", "none waits" if oldest is None else f"waits for {_duration(oldest)}"),
        ("states", _counts((overview.get("jobs") or {}).get("byState"))),
        ("hosts", _host_sums(overview.get("hosts"))),
        ("sweep", _sweep(overview)),
    ]
    by_app = (overview.get("sessions") or {}).get("byApp") or {}
    rows = [("APP", "STATE", "REVISION", "SESSIONS"), *(_app_row(app, by_app) for app in apps)]
    lines = [
        f"Usher at {_instant(overview.get('at'))}",
        *wrong,
        "",
        *(f"{name:<9} {text}" for name, text in facts),
        "",
        *table(rows),
        *_trend_lines(overview.get("trend") or ()),
    ]
    return [fit(printable(line), width) for line in lines]


def fit(line: str, width: int) -> str:
    """The part of a line that fits; wide characters take two columns, combining ones none."""
    used = 0
    kept: list[str] = []
    for character in line:
        columns = _columns(character)
        if used + columns > width:
            return "".join(kept).rstrip()
        kept.append(character)
        used += columns
    return line


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def sparkline(values: Sequence[float | None], columns: int = SPARK_COLUMNS) -> str:
    """The newest values as blocks from 0 to their maximum; a space for a missing value."""
    shown = values[-columns:]
    most = max((value for value in shown if value is not None), default=0) or 1
    top = len(BLOCKS) - 1
    return "".join(
        " " if value is None else BLOCKS[round(top * max(0, value) / most)] for value in shown
    )


def _trend_lines(trend: Sequence[Document]) -> list[str]:
    """A line of blocks for each figure of the last hours; empty before there are two points."""
    if len(trend) < 2:
        return []
    lines = ["", "the last hours"]
    for name, title in TREND.items():
        values = [point.get(name) for point in trend]
        if any(value is not None for value in values):
            newest = "" if values[-1] is None else f" {values[-1]:g}"
            lines.append(f"{title:<18} {sparkline(values)}{newest}")
    return lines


def _sessions(overview: Document) -> str:
    sessions = overview.get("sessions") or {}
    totals: dict[str, int] = {}
    for states in (sessions.get("byApp") or {}).values():
        for state, count in states.items():
            totals[state] = totals.get(state, 0) + count
    states = f" ({_counts(totals)})" if totals else ""
    waiting = sessions.get("waitingForHosts")
    return f"{sessions.get('live', '?')} live{states}" + (
        f", {waiting} wait for a host" if waiting else ""
    )


def _time_to_address(overview: Document) -> str:
    found = (overview.get("sessions") or {}).get("timeToAddress") or {}
    if found.get("p50Seconds") is None:
        return "none within the hour"
    return f"p50 {found['p50Seconds']:.2f} s, p99 {found['p99Seconds']:.2f} s within the hour"


def _counts(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{count} {name}" for name, count in (counts or {}).items()) or "none"


def _host_sums(hosts: Document | None) -> str:
    if not hosts or "cpu" not in hosts:
        return "none known"
    taken = [
        f"{round(100 * (1 - of['left'] / of['total'])) if of['total'] else 0} % of {name}"
        for name, of in (("processor", hosts["cpu"]), ("memory", hosts["memory"]))
    ]
    return f"{hosts['counted']}, {' and '.join(taken)} taken"


def _app_row(app: Document, by_app: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    return (
        str(app["name"]),
        str(app.get("state") or ""),
        str(app.get("revision") or ""),
        _counts(by_app.get(str(app["name"]))),
    )


def _sweep(overview: Document) -> str:
    sweep = overview.get("sweep")
    if not sweep:
        return "none yet"
    ago = _duration(_age(overview, sweep["finishedAt"]) or 0.0)
    return f"{ago} ago, {sweep.get('records')} records, {sweep.get('tasks')} tasks"


def _age(overview: Document, at: str | None) -> float | None:
    if not at or not overview.get("at"):
        return None
    now = datetime.fromisoformat(str(overview["at"]))
    return max(0.0, (now - datetime.fromisoformat(str(at))).total_seconds())


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _instant(text: Any) -> str:
    return when(datetime.fromisoformat(text)) if isinstance(text, str) and text else ""


def _left_of(resource: Any) -> str:
    return f"{resource['left']} of {resource['total']}" if isinstance(resource, Mapping) else ""
