"""The kinds of session a deployment offers: parsed from a document, checked whole.

Pure: `config.load_apps` reads the file. Every problem is reported at once, because a
deployment that fails on the second typo after the first was mended wastes an afternoon.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from chalicelib.contract import SESSION_PORT
from chalicelib.errors import ConfigurationError

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class App:
    """One kind of session. `memory` in MiB, `cpu` in ECS units (1024 = a core)."""

    name: str
    image: str
    cpu: int = 128
    memory: int = 128
    port: int = SESSION_PORT
    session_app: str | None = None
    """`module:Class` inside the image; None = the image's own default, which forwards the feed."""
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = "65534:65534"
    health_check: tuple[str, ...] = ()
    """For images that do not call back: ready means that ECS says HEALTHY."""
    network_mode: str = "bridge"
    launch_type: str = "EC2"
    needs_aws: bool = True
    """Whether the feed needs AWS credentials, and with them a task role."""
    connect_deadline_seconds: int = 30
    reconnect_grace_seconds: int = 0
    max_session_seconds: int = 14_400
    stop_timeout_seconds: int = 10
    queue_seconds: int = 120
    """How long a request may wait for capacity before it ends as queue_timeout."""


@dataclass(frozen=True)
class Apps:
    """All apps by name, and the one that `GET /session` means when it names none."""

    default: str
    by_name: Mapping[str, App]

    def get(self, name: str | None) -> App | None:
        """The app called `name`, or the default one for None; None when there is no such app."""
        return self.by_name.get(self.default if name is None else name)


_STRINGS = {"image", "session_app", "user", "network_mode", "launch_type"}
_LISTS = {"entry_point", "command", "health_check"}
_BOUNDS = {
    "cpu": (0, 196_608),
    "memory": (6, 1_048_576),
    "port": (1, 65_535),
    "connect_deadline_seconds": (1, 3_600),
    "reconnect_grace_seconds": (0, 3_600),
    "max_session_seconds": (10, 1_209_600),
    "stop_timeout_seconds": (2, 120),
    "queue_seconds": (1, 3_600),
}


def parse_apps(document: Mapping[str, Any]) -> Apps:
    """Turn the parsed apps file into `Apps`. Raises ConfigurationError naming every problem."""
    problems: list[str] = []
    tables = document.get("apps")
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigurationError("the apps file has no [apps.NAME] table")
    apps = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            problems.append(f"apps.{name}: a name is {NAME.pattern}")
        elif not isinstance(table, Mapping):
            problems.append(f"apps.{name}: not a table")
        else:
            mistakes = [f"apps.{name}.{problem}" for problem in _mistakes(table)]
            problems += mistakes
            if not mistakes:
                apps[name] = App(name=name, **_values(table))
    default = document.get("default", next(iter(tables)))
    if default not in tables:
        problems.append(f"default: no app is called {default!r}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return Apps(default=default, by_name=apps)


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if key in _LISTS else value for key, value in table.items()}


def _mistakes(table: Mapping[str, Any]) -> list[str]:
    known = {field.name for field in fields(App)} - {"name"}
    problems = [f"{key}: unknown key" for key in table if key not in known]
    if "image" not in table:
        problems.append("image: missing")
    for key, value in table.items():
        if key in known and (problem := _mistake(key, value)):
            problems.append(f"{key}: {problem}")
    if table.get("launch_type", "EC2") == "EC2" and table.get("network_mode") == "awsvpc":
        problems.append("network_mode: awsvpc on EC2 has no public IP, so browsers could not come")
    if table.get("launch_type") == "FARGATE" and table.get("network_mode") != "awsvpc":
        problems.append("network_mode: Fargate knows awsvpc only")
    return problems


def _mistake(key: str, value: Any) -> str | None:
    if key in _STRINGS:
        return _string_mistake(key, value)
    if key in _LISTS:
        strings = isinstance(value, list) and all(isinstance(part, str) for part in value)
        return None if strings else "must be a list of strings"
    if key == "environment":
        pairs = isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values())
        return None if pairs else "must be a table of strings"
    if key == "needs_aws":
        return None if isinstance(value, bool) else "must be true or false"
    low, high = _BOUNDS[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        return f"must be a whole number from {low} to {high}"
    return None


def _string_mistake(key: str, value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return "must be a string"
    if key == "network_mode" and value not in {"bridge", "awsvpc"}:
        return "must be bridge or awsvpc"
    if key == "launch_type" and value not in {"EC2", "FARGATE"}:
        return "must be EC2 or FARGATE"
    if key == "session_app" and not re.fullmatch(r"[\w.]+:\w+", value):
        return "must be module:Class"
    return None
