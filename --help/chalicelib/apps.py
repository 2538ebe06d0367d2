"""The session apps of a deployment, parsed from a document and checked. Pure.

`config.load_apps` reads the file. All problems are reported at once, so that one deployment shows
all of them.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib import task_identity
from chalicelib.contract import SESSION_PORT, Env
from chalicelib.contract.secrets import problems_of
from chalicelib.contract.text import can_be_passed, is_readable, is_variable
from chalicelib.errors import ConfigurationError
from chalicelib.task_placement import Placement, parse_placement, problems_of_placement

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
JOBS_BEGIN_WITH = "job-"
REGISTERED_BEGIN_WITH = "app-"
"""Prefix of the task definition families of registered apps."""
PASSED = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MOST_PASSED = 16
"""Maximum number of claims, and of parameters, that are passed to a container."""
MOST_POLICY_CHARACTERS = 2_048
"""STS's limit for a session policy. STS also limits its packed size."""
NO_FEED = "none"
"""`feed_url` of an app without a feed, such as a terminal or a game."""


@dataclass(frozen=True)
class PoolSize:
    """Bounds of a warm pool: at least `minimum`, more on demand, at most `maximum`."""

    minimum: int = 0
    maximum: int = 0
    max_age_seconds: int = 3_600


@dataclass(frozen=True)
class Limits:
    """Limits of a deployment; 0 = none. Apps have limits in addition."""

    total: int = 0
    per_owner: int = 0
    per_second: int = 0

    @property
    def are_complete(self) -> bool:
        """Whether all of them are set."""
        return min(self.total, self.per_owner, self.per_second) > 0


@dataclass(frozen=True)
class App:
    """One kind of session. `memory` in MiB, `cpu` in ECS units (1024 = one core)."""

    name: str
    image: str
    cpu: int = 128
    memory: int = 128
    port: int = SESSION_PORT
    feed_url: str | None = None
    """The feed of its containers; None = the deployment's feed; NO_FEED = none."""
    session_app: str | None = None
    """`module:Class` inside the image; None = the image's default, which forwards the feed."""
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables whose values ECS reads from references, by name; see
    `chalicelib.contract.secrets`."""
    user: str = "65534:65534"
    health_check: tuple[str, ...] = ()
    """ECS health check, for images without callbacks: the container is ready when ECS reports
    HEALTHY."""
    network_mode: str = "bridge"
    launch_type: str = "EC2"
    certificates: str | None = None
    """Location of fullchain.pem and privkey.pem: a directory of the host, or an EFS file system."""
    needs_aws: bool = True
    """Whether reading the feed needs AWS credentials, and therefore a task role."""
    writes_feed: bool = False
    """Whether its sessions may write records to the deployment's stream."""
    task_role: str | None = None
    """Suffix of the role `usher-STAGE-task-…` of its containers, which replaces the sessions'
    role."""
    subnets: tuple[str, ...] = ()
    """Subnets of its tasks, instead of the deployment's; awsvpc only."""
    security_groups: tuple[str, ...] = ()
    """Security groups of its tasks, likewise."""
    user_role: str | None = None
    """Suffix of the role `usher-STAGE-user-…` for which its containers get credentials once they
    have a user."""
    user_policy: str | None = None
    """JSON of an STS session policy that limits the rights of `user_role`."""
    pass_claims: tuple[str, ...] = ()
    """Names of the claims of a user's token that are passed to the container."""
    pass_query: tuple[str, ...] = ()
    """Names of the parameters of GET /session that are passed to the container."""
    max_sessions: int = 0
    """Maximum number of live sessions; 0 = no limit for the app."""
    connect_deadline_seconds: int = 30
    reconnect_grace_seconds: int = 0
    max_session_seconds: int = 14_400
    stop_timeout_seconds: int = 10
    queue_seconds: int = 120
    """Maximum time that a request waits for capacity; then it ends as queue_timeout."""
    group: str | None = None
    """The capacity group of its containers; None = the default group."""
    pool: PoolSize = PoolSize()
    placement: Placement = field(default_factory=Placement)
    is_registered: bool = False
    """Whether it was registered over HTTP (`usher deploy`) and is not in the apps file."""

    @property
    def family_name(self) -> str:
        """The stage-independent part of its task definition family's name."""
        return f"{REGISTERED_BEGIN_WITH}{self.name}" if self.is_registered else self.name

    def feed_url_or(self, deployments: str) -> str:
        """The feed of its containers, given the deployment's; an empty string for none."""
        url = self.feed_url or deployments
        return "" if url == NO_FEED else url

    @property
    def serves_tls(self) -> bool:
        """Whether its containers serve https and wss themselves."""
        return self.certificates is not None or Env.TLS_CERT_FILE in self.environment


@dataclass(frozen=True)
class Apps:
    """All apps by name, the default app of `GET /session`, and the limits."""

    default: str
    by_name: Mapping[str, App]
    limits: Limits = Limits()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all apps, in the order of the file."""
        return tuple(self.by_name)

    def get(self, name: str | None) -> App | None:
        """The app called `name`, the default app for None; None when there is no such app."""
        return self.by_name.get(self.default if name is None else name)

    def with_pool_minimum(self, minimum: int) -> "Apps":
        """The same apps, with at least `minimum` warm containers for the default app."""
        app = self.by_name[self.default]
        pool = replace(app.pool, minimum=minimum, maximum=max(minimum, app.pool.maximum))
        return replace(self, by_name={**self.by_name, app.name: replace(app, pool=pool)})


Check = Callable[[Any], str | None]
"""Returns the error message for a value, or None."""


_WITHOUT = "without NUL and lone surrogates"


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> str | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and low <= value <= high else f"a whole number from {low} to {high}"

    return check


def _text(pattern: str = ".+", expected: str = "a string") -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            return expected
        return None if is_readable(value) else f"{expected} without control characters"

    return check


def _strings(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return "a list of strings"
    return None if all(map(can_be_passed, value)) else f"a list of strings {_WITHOUT}"


def _names(*taken: str) -> Check:
    def check(value: Any) -> str | None:
        names = isinstance(value, list) and all(
            isinstance(name, str) and PASSED.fullmatch(name) and name not in taken for name in value
        )
        but = f", none of them {' or '.join(taken)}" if taken else ""
        fits = names and len(value) <= MOST_PASSED
        return None if fits else f"a list of up to {MOST_PASSED} names{but}"

    return check


def _pairs(value: Any) -> str | None:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        return "a table of strings"
    if not all(map(is_variable, value)):
        return "a table whose names have no blanks, control characters and ="
    return None if all(map(can_be_passed, value.values())) else f"a table of strings {_WITHOUT}"


def _references(value: Any) -> str | None:
    return "; ".join(problems_of(value, {})) or None


def session_policy_problem(value: Any) -> str | None:
    """The error message for the text of a session policy; None if it is valid."""
    expected = f"the JSON of a policy of at most {MOST_POLICY_CHARACTERS} characters"
    if not isinstance(value, str):
        return expected
    try:
        document = json.loads(value)
        compact = json.dumps(document, separators=(",", ":"))
    except (ValueError, RecursionError):
        return expected
    is_policy = isinstance(document, Mapping) and document.get("Version") == "2012-10-17"
    if not is_policy or not isinstance(document.get("Statement"), list):
        return f'{expected}, with "Version": "2012-10-17" and a list "Statement"'
    return None if len(compact) <= MOST_POLICY_CHARACTERS else expected


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


_APP: dict[str, Check] = {
    "image": _text(),
    "cpu": _whole(0, 196_608),
    "memory": _whole(6, 1_048_576),
    "port": _whole(1, 65_535),
    "feed_url": _text(
        rf"(kinesis|rediss?)://.+|{NO_FEED}",
        f"kinesis://STREAM, redis://HOST:PORT/STREAM or {NO_FEED}",
    ),
    "session_app": _text(r"[\w.]+:\w+", "module:Class"),
    "entry_point": _strings,
    "command": _strings,
    "environment": _pairs,
    "secrets": _references,
    "user": _text(),
    "health_check": _strings,
    "network_mode": _text("bridge|awsvpc", "bridge or awsvpc"),
    "launch_type": _text("EC2|FARGATE", "EC2 or FARGATE"),
    "certificates": _text(r"/.+|fs-[0-9a-f]+", "a folder of the host, or fs-… of EFS"),
    "needs_aws": _flag,
    "writes_feed": _flag,
    "task_role": task_identity.role("usher-STAGE-task-"),
    "subnets": task_identity.subnets,
    "security_groups": task_identity.security_groups,
    "user_role": task_identity.role("usher-STAGE-user-"),
    "user_policy": session_policy_problem,
    "pass_claims": _names(),
    "pass_query": _names("app", "wait"),
    "max_sessions": _whole(0, 1_000_000),
    "connect_deadline_seconds": _whole(1, 3_600),
    "reconnect_grace_seconds": _whole(0, 3_600),
    "max_session_seconds": _whole(10, 1_209_600),
    "stop_timeout_seconds": _whole(2, 120),
    "queue_seconds": _whole(1, 3_600),
    "group": _text(),
}
_POOL: dict[str, Check] = {
    "minimum": _whole(0, 10_000),
    "maximum": _whole(0, 10_000),
    "max_age_seconds": _whole(30, 86_400),
}
_LIMITS: dict[str, Check] = {
    "total": _whole(0, 1_000_000),
    "per_owner": _whole(0, 1_000_000),
    "per_second": _whole(0, 100_000),
}


def parse_apps(document: Mapping[str, Any]) -> Apps:
    """Parse the apps file's document. Raises ConfigurationError with every problem."""
    problems = [
        f"{key}: unknown key" for key in document if key not in {"default", "limits", "apps"}
    ]
    tables = document.get("apps")
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigurationError("the apps file has no [apps.NAME] table")
    limits = document.get("limits", {})
    problems += _mistakes("limits", limits, _LIMITS)
    for name, table in tables.items():
        problems += _app_mistakes(f"apps.{name}", name, table)
    default = document.get("default", next(iter(tables)))
    if not isinstance(default, str) or default not in tables:
        problems.append(f"default: no app is called {default!r}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    apps = {name: _app(name, table) for name, table in tables.items()}
    return Apps(default=default, by_name=apps, limits=Limits(**limits))


def parse_app(name: str, table: Any) -> App:
    """Parse one `[apps.NAME]` table. Raises ConfigurationError with every problem."""
    if problems := _app_mistakes(f"apps.{name}", name, table):
        raise ConfigurationError("; ".join(problems))
    return _app(name, table)


def _app(name: str, table: Mapping[str, Any]) -> App:
    values = _tuples({k: v for k, v in table.items() if k not in {"pool", "placement"}})
    pool = dict(table.get("pool", {}))
    pool.setdefault("maximum", pool.get("minimum", 0))
    placement = parse_placement(table.get("placement", {}))
    return App(name=name, pool=PoolSize(**pool), placement=placement, **values)


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}


def _app_mistakes(where: str, name: str, table: Any) -> list[str]:
    if not NAME.fullmatch(name):
        return [f"{where}: a name is {NAME.pattern}"]
    if name.startswith((JOBS_BEGIN_WITH, REGISTERED_BEGIN_WITH)):
        return [
            f"{where}: task definitions of jobs begin with {JOBS_BEGIN_WITH}, those of registered "
            f"apps with {REGISTERED_BEGIN_WITH}"
        ]
    if not isinstance(table, Mapping):
        return [f"{where}: not a table"]
    own = {key: value for key, value in table.items() if key not in {"pool", "placement"}}
    pool, placement = table.get("pool", {}), table.get("placement", {})
    problems = _mistakes(where, own, _APP)
    problems += _mistakes(f"{where}.pool", pool, _POOL)
    fargate = table.get("launch_type") == "FARGATE"
    wrong = problems_of_placement(placement, fargate=fargate)
    problems += [f"{where}.placement: {problem}" for problem in wrong]
    if not problems:
        problems = [f"{where}.{problem}" for problem in _contradictions(table, pool)]
    return problems


def _mistakes(where: str, table: Any, checks: Mapping[str, Check]) -> list[str]:
    if not isinstance(table, Mapping):
        return [f"{where}: not a table"]
    problems = [f"{where}.{key}: unknown key" for key in table if key not in checks]
    for key, check in checks.items():
        if key in table and (wanted := check(table[key])):
            problems.append(f"{where}.{key}: must be {wanted}")
    return problems


def _contradictions(table: Mapping[str, Any], pool: Mapping[str, Any]) -> list[str]:
    problems = []
    fargate = table.get("launch_type") == "FARGATE"
    if "image" not in table:
        problems.append("image: missing")
    if not fargate and table.get("network_mode") == "awsvpc":
        problems.append("network_mode: awsvpc on EC2 has no public IP, so browsers could not come")
    if fargate and table.get("network_mode") != "awsvpc":
        problems.append("network_mode: Fargate knows awsvpc only")
    if fargate and table.get("certificates", "").startswith("/"):
        problems.append("certificates: Fargate has no host folders, only EFS")
    problems += [
        f"{key}: of tasks with a network interface of their own; network_mode is bridge"
        for key in ("subnets", "security_groups")
        if key in table and table.get("network_mode", "bridge") == "bridge"
    ]
    if table.get("task_role") and table.get("writes_feed"):
        problems.append("writes_feed: by a role of the deployment, and this app has its own")
    if "user_policy" in table and "user_role" not in table:
        problems.append("user_policy: limits the rights of a user_role, and there is none")
    if table.get("writes_feed") and "feed_url" in table:
        problems.append("writes_feed: into the deployment's stream only, and this app has its own")
    if pool.get("minimum", 0) > pool.get("maximum", pool.get("minimum", 0)):
        problems.append("pool: its minimum is above its maximum")
    return problems
