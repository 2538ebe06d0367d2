"""The Config of the process, read from the environment once; no other code reads os.environ.

docs/contracts.md lists every variable; a test compares that list with `VARIABLES`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from chalicelib.apps import Apps, Limits, parse_apps
from chalicelib.callers import AuthMode
from chalicelib.errors import ConfigurationError

LOCAL = "local"
"""The stage of the local cloud: its callers have all permissions without credentials."""

MAX_WAIT_SECONDS = 25
"""API Gateway's limit is 29 seconds; the difference is for the rest of the request."""

VARIABLES: Mapping[str, str] = {
    "STAGE": "deployment stage; part of every physical name",
    "AWS_REGION": "region of everything",
    "APPS_FILE": "path of the apps file; default: the one beside this module",
    "CAPACITY_FILE": "path of the file of capacity groups; default: the one beside this module",
    "FEED_URL": "what containers stream: kinesis://STREAM or redis://HOST:PORT/STREAM",
    "FEED_RELAY_URL": "the fan-out feed as the relay reaches it; default: FEED_URL",
    "FEED_PASSWORD_SECRET": "secret in Secrets Manager with the password that FEED_URL leaves out",
    "FEED_MAX_RECORDS": "about how many records the fan-out feed keeps",
    "FEED_BACKFILL_SECONDS": "how much of the stream refills a fan-out feed that lost everything",
    "CALLBACK_BASE_URL": "base URL of this API as containers reach it; default: the request's own",
    "CONTAINER_AWS_ENDPOINT_URL": "AWS endpoint as containers reach it; default: AWS itself",
    "ALLOWED_ORIGINS": "origins of pages that may open sessions, comma separated, or *",
    "SESSION_URL_TEMPLATE": "what a browser opens; {id} {ip} {dashed_ip} {port} {path}",
    "DEFAULT_WAIT_SECONDS": "how long GET /session waits for a cold start unless told",
    "POOL_MIN": "minimum of the default app's warm pool, over what the apps file says",
    "MAX_SESSIONS": "sessions that live at once, over what the apps file says; 0 = no limit",
    "MAX_SESSIONS_PER_OWNER": "the same of one owner",
    "MAX_REQUESTS_PER_SECOND": "requests for sessions a second, over what the apps file says",
    "AUTH_MODE": "how callers are known: none, api_key, iam or jwt; default: none, at stage local",
    "USER_POOL_ARNS": "for jwt: ARNs of the Cognito user pools, comma separated",
    "API_KEYS": "for api_key: NAME:SHA256HEX of each key, comma separated",
    "SIGN_IN_URL": "for jwt: https:// and the domain of the user pool's hosted pages",
    "SIGN_IN_CLIENT": "for jwt: the app client of the console, public, with the code grant",
    "OPERATORS": "names that may manage every session, comma separated",
    "VIEWERS": "names that may see what operators see and change nothing, comma separated",
    "CRITICAL_OWNERS": "owners besides operators that may ask for the priority critical",
    "ADDRESSES": "which addresses containers are told by: public, or private behind a router",
    "PROBES": "on, or off where functions reach no container although addresses are public",
    "TRACES_ENDPOINT": "base URL of a collector of OTLP over HTTP; default: no span is sent",
    "ROUTER_KEY": "SHA-256 in hex of each key of routers, comma separated; default: none",
    "HOSTS_GROUP": "Auto Scaling group whose hosts are planned; default: none, nothing is planned",
    "HOSTS_MAX_AGE_SECONDS": "hosts beyond this age are recycled; 0 = none",
    "HOSTS_FREE_PLACES": "how many containers of the default app's size there is always room for",
    "HOSTS_AHEAD_PERCENT": "percentage of the room that is kept for starts while a host comes",
    "HOSTS_SCALE_IN_SECONDS": "time with too many hosts before one is drained",
    "HOSTS_AWAY": "how many hosts may be away at once for being recycled",
    "PLACEMENT_MODULE": "module with the stage's own placement (PLUGINS by name); default: none",
    "CAPACITY_PROVIDER": "ECS capacity provider of EC2 apps; default: whatever hosts there are",
    "TASK_SUBNETS": "for Fargate apps: subnets of their tasks, comma separated",
    "TASK_SECURITY_GROUPS": "for Fargate apps: security groups of their tasks, comma separated",
    "JOBS_CAPACITY": "how many jobs may run at once; 0 = as many as the hosts take",
    "WAITING_SESSIONS": "how many tasks of sessions may wait in ECS's PROVISIONING for hosts",
    "WAITING_JOBS": "the same for jobs",
    "JOBS_KEPT_FOR_CRITICAL": "how many of these places only critical invocations get",
    "JOBS_PER_OWNER": "how many invocations of one owner may wait or run; 0 = any number",
    "JOBS_PER_OWNER_A_DAY": "how many invocations a day (UTC) accepts of one owner; 0 = any number",
    "JOBS_RUNNING_PER_OWNER": "how many of one owner may run at once; 0 = any number",
    "AUDIT_DAYS": "how many days audit records are kept",
    "AUTHORS": "owners besides operators that may put assignments, comma separated",
    "GRADING_BUCKET": "S3 bucket of graders' and learners' files",
    "GRADING_CAPACITY": "how many gradings judges have at once",
    "GRADING_UNAVAILABLE": "why submissions are not marked here; default: they are",
    "JUDGES_CLUSTER": "ECS cluster of judges; default: that of everything else",
    "JUDGES_CAPACITY_PROVIDER": "ECS capacity provider of judges; default: CAPACITY_PROVIDER",
    "JUDGES_CALLBACK_URL": "base URL of this API as judges reach it; default: as other jobs do",
    "GRADER_IMAGES": "repository that graders' images have to be in, by digest; default: any image",
    "GRADINGS_PER_LEARNER": "how many gradings of one learner may wait or run; 0 = any number",
    "SUBMISSIONS_PER_LEARNER": "how many submissions to one assignment; 0 = any number",
    "JOBS_LAUNCH_TYPE": "EC2 or FARGATE, for jobs that do not say",
    "EXECUTION_ROLE_ARN": "role that pulls the images of jobs and writes their logs",
    "SESSION_ROLE_ARN": "task role of registered apps that read the direct feed",
    "SESSION_FEED_PASSWORD": "ARN of the secret with the feed's password, for registered apps",
    "APPS_MAX_CPU": "the most CPU units a registered app may ask for",
    "APPS_MAX_MEMORY": "the most MiB a registered app may ask for",
    "APPS_MAX_POOL": "the largest warm pool a registered app may ask for",
    "ARCHITECTURE": "of the hosts: x86_64 or arm64",
}


@dataclass(frozen=True)
class AppBounds:
    """Maximum size of an app that is registered over HTTP: CPU units, MiB, pool."""

    cpu: int = 4_096
    memory: int = 8_192
    pool: int = 20


@dataclass(frozen=True)
class Config:
    """All settings of the dispatcher. Names of AWS resources are derived from the stage."""

    stage: str
    region: str
    apps: Apps
    feed_url: str
    callback_base_url: str | None
    container_aws_endpoint_url: str | None
    allowed_origins: str
    session_url_template: str
    default_wait_seconds: float
    metrics_here: bool
    """Whether `GET /metrics` returns this process's metrics; otherwise they are in CloudWatch."""
    auth_mode: AuthMode | None
    """None = not set; all callers are refused."""
    api_keys: tuple[tuple[str, str], ...]
    """Name and hexadecimal SHA-256 of each key; during a rotation a name has two."""
    operators: frozenset[str]
    viewers: frozenset[str]
    critical_owners: frozenset[str]
    feed_relay_url: str | None = None
    """The relay's URL of the fan-out feed, if it differs from the containers'."""
    feed_password_secret: str | None = None
    """ARN or name of the secret with the feed's password; None = FEED_URL is complete."""
    feed_max_records: int = 100_000
    feed_backfill_seconds: int = 600
    private_addresses: bool = False
    probes: bool = True
    """Whether functions can reach containers at their public addresses."""
    traces_endpoint: str | None = None
    """Base URL of an OTLP/HTTP collector; None = no spans are sent."""
    router_keys: tuple[str, ...] = ()
    """Hexadecimal SHA-256 of each router's key; none = no router may request session addresses."""
    capacity_provider: str | None = None
    """None = EC2 tasks use the existing hosts, and none are added for them."""
    task_subnets: tuple[str, ...] = ()
    task_security_groups: tuple[str, ...] = ()
    waiting_sessions: int = 300
    """Maximum number of session tasks in ECS's PROVISIONING state; ECS's quota is 500."""
    waiting_jobs: int = 100
    """The same for jobs."""
    jobs_capacity: int = 200
    jobs_kept_for_critical: int = 10
    jobs_per_owner: int = 1_000
    jobs_per_owner_a_day: int = 10_000
    jobs_running_per_owner: int = 100
    audit_days: int = 90
    authors: frozenset[str] = frozenset()
    grading_bucket: str = ""
    grading_capacity: int = 4
    grading_unavailable: str | None = None
    """Message for submitters; None = this deployment marks submissions."""
    judges_cluster: str | None = None
    """Name of the judges' cluster; None = they share the other tasks' cluster."""
    judges_capacity_provider: str | None = None
    hosts_group: str | None = None
    """The Auto Scaling group of the host planner; None = only ECS's managed scaling."""
    hosts_max_age_seconds: int = 0
    hosts_free_places: int = 0
    hosts_ahead_percent: int = 100
    hosts_scale_in_seconds: int = 300
    hosts_away: int = 1
    placement_module: str | None = None
    """The module with `PLUGINS`; see `chalicelib/capacity/plugins.py`."""
    judges_callback_url: str | None = None
    """The API's URL for judges, if it differs from that for other jobs."""
    grader_images: str | None = None
    """A repository; None = graders may use any image, or a Dockerfile."""
    gradings_per_learner: int = 100
    submissions_per_learner: int = 500
    jobs_launch_type: str = "EC2"
    execution_role_arn: str | None = None
    """None = no execution role, as in the embedded cloud."""
    session_role_arn: str | None = None
    """None = containers have no role, as in the embedded cloud without IAM."""
    sessions_feed_password: str | None = None
    """ARN of a secret; None = the feed needs no password."""
    app_bounds: AppBounds = AppBounds()
    capacity: Mapping[str, Any] = field(default_factory=dict)
    """The document of the capacity groups, see `chalicelib.capacity.groups`; empty = one unlimited
    group."""
    architecture: str = "x86_64"

    @property
    def is_local(self) -> bool:
        """Whether this is the embedded cloud, whose callers have all permissions."""
        return self.stage == LOCAL

    @property
    def cluster(self) -> str:
        """Name of the ECS cluster."""
        return cluster_name(self.stage)

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of all clusters with tasks, the main one first."""
        other = self.judges_cluster
        return (self.cluster,) if other in {None, self.cluster} else (self.cluster, str(other))

    @property
    def reaches_containers(self) -> bool:
        """Whether functions can reach containers. They run outside the network of private
        addresses.
        """
        return self.probes and not self.private_addresses

    @property
    def sessions_table(self) -> str:
        """Name of the DynamoDB table of sessions."""
        return f"usher-{self.stage}-sessions"

    @property
    def jobs_table(self) -> str:
        """Name of the DynamoDB table of invocations and schedules."""
        return f"usher-{self.stage}-jobs"

    @property
    def grading_table(self) -> str:
        """Name of the DynamoDB table of assignments, submissions and gradings."""
        return f"usher-{self.stage}-grading"

    @property
    def audit_table(self) -> str:
        """Name of the DynamoDB table of audit records."""
        return f"usher-{self.stage}-audit"

    @property
    def jobs_log_group(self) -> str:
        """Name of the log group that jobs write to."""
        return f"/usher/{self.stage}/jobs"

    @property
    def sessions_log_group(self) -> str:
        """Name of the log group that sessions write to."""
        return f"/usher/{self.stage}/sessions"

    @property
    def launches_queue(self) -> str:
        """Name of the SQS queue of sessions that wait for capacity."""
        return launches_queue(self.stage)

    @property
    def stream(self) -> str:
        """Name of the Kinesis stream of updates."""
        return updates_stream(self.stage)


def cluster_name(stage: str) -> str:
    """Name of the ECS cluster; Chalice needs it while app.py is being imported."""
    return f"usher-{stage}"


def judges_cluster_name(stage: str) -> str:
    """Name of the ECS cluster of judges; Chalice needs it while app.py is being imported."""
    return f"{cluster_name(stage)}-graders"


def launches_queue(stage: str) -> str:
    """Name of the SQS queue of launches; Chalice needs it while app.py is being imported."""
    return f"usher-{stage}-launches"


def jobs_queue(stage: str, priority: str) -> str:
    """Name of the SQS queue of one priority of jobs."""
    return f"usher-{stage}-jobs-{priority}"


def schedules_queue(stage: str) -> str:
    """Name of the SQS queue of schedules that are due."""
    return f"usher-{stage}-schedules"


def dead_letter_queues(stage: str) -> dict[str, str]:
    """Names of the queues of messages that were given up, by what they were about."""
    about = ("launches", "jobs", "schedules", "events")
    return {name: f"usher-{stage}-{name}-dead" for name in about}


def updates_stream(stage: str) -> str:
    """Name of the Kinesis stream; Chalice needs it while app.py is being imported."""
    return f"usher-{stage}-updates"


def feed_url(environ: Mapping[str, str] = os.environ) -> str:
    """The containers' feed. While app.py is imported it determines whether there is a relay."""
    return environ.get("FEED_URL") or f"kinesis://{updates_stream(stage(environ))}"


def stage(environ: Mapping[str, str] = os.environ) -> str:
    """The deployment stage; `local` without STAGE."""
    return environ.get("STAGE", LOCAL)


def authorization(environ: Mapping[str, str] = os.environ) -> tuple[AuthMode | None, list[str]]:
    """AUTH_MODE and USER_POOL_ARNS; Chalice needs both while app.py is being imported.

    Outside stage `local` there is no default: with None all callers are refused.
    """
    name = environ.get("AUTH_MODE") or ("none" if stage(environ) == LOCAL else None)
    mode = None if name is None else _auth_mode(name)
    user_pools = list(filter(None, environ.get("USER_POOL_ARNS", "").split(",")))
    if mode is AuthMode.JWT and not user_pools:
        raise ConfigurationError("AUTH_MODE jwt needs USER_POOL_ARNS")
    return mode, user_pools


def sign_in_page(environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """SIGN_IN_URL and SIGN_IN_CLIENT: the sign-in page for `jwt`; empty unless both are set.

    Raises ConfigurationError.
    """
    url, client = environ.get("SIGN_IN_URL", "").rstrip("/"), environ.get("SIGN_IN_CLIENT", "")
    if not url or not client:
        return "", ""
    is_laptop = stage(environ) == LOCAL
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?", url) or (
        url.startswith("http:") and not is_laptop
    ):
        raise ConfigurationError("SIGN_IN_URL: https://DOMAIN, without a path")
    return url, client


@cache
def _origins(text: str) -> frozenset[str] | None:
    origins = frozenset(filter(None, (origin.strip().lower() for origin in text.split(","))))
    return None if "*" in origins else origins


def allowed_origins(environ: Mapping[str, str] = os.environ) -> frozenset[str] | None:
    """ALLOWED_ORIGINS in lower case; None = every origin."""
    return _origins(environ.get("ALLOWED_ORIGINS", "*"))


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the environment. Raises ConfigurationError."""
    stage_name = stage(environ)
    apps_file = environ.get("APPS_FILE")
    wait = environ.get("DEFAULT_WAIT_SECONDS", "20")
    if not wait.isdigit() or int(wait) > MAX_WAIT_SECONDS:
        raise ConfigurationError(
            f"DEFAULT_WAIT_SECONDS: a whole number up to {MAX_WAIT_SECONDS}, not {wait!r}"
        )
    template = environ.get("SESSION_URL_TEMPLATE", "ws://{ip}:{port}{path}")
    try:
        template.format(id="", ip="192.0.2.1", dashed_ip="192-0-2-1", port=1, path="/")
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(f"SESSION_URL_TEMPLATE: {error!r}") from error
    apps = load_apps(Path(apps_file) if apps_file else None)
    pool_minimum = environ.get("POOL_MIN", "")
    if pool_minimum:
        if not pool_minimum.isdigit():
            raise ConfigurationError(f"POOL_MIN: a whole number, not {pool_minimum!r}")
        apps = apps.with_pool_minimum(int(pool_minimum))
    auth_mode = authorization(environ)[0]
    apps = replace(apps, limits=_limits(environ, apps.limits))
    if auth_mode is AuthMode.NONE and stage_name != LOCAL and not apps.limits.are_complete:
        raise ConfigurationError(
            "AUTH_MODE none needs MAX_SESSIONS, MAX_SESSIONS_PER_OWNER and MAX_REQUESTS_PER_SECOND"
        )
    return Config(
        stage=stage_name,
        region=environ.get("AWS_REGION", "us-east-1"),
        apps=apps,
        feed_url=feed_url(environ),
        callback_base_url=environ.get("CALLBACK_BASE_URL") or None,
        container_aws_endpoint_url=environ.get("CONTAINER_AWS_ENDPOINT_URL") or None,
        allowed_origins=environ.get("ALLOWED_ORIGINS", "*"),
        session_url_template=template,
        default_wait_seconds=int(wait),
        metrics_here=stage_name == LOCAL,
        auth_mode=auth_mode,
        api_keys=_api_keys(environ.get("API_KEYS", "")),
        operators=frozenset(_list(environ, "OPERATORS")),
        viewers=frozenset(_list(environ, "VIEWERS")),
        critical_owners=frozenset(_list(environ, "CRITICAL_OWNERS")),
        feed_relay_url=environ.get("FEED_RELAY_URL") or None,
        feed_password_secret=environ.get("FEED_PASSWORD_SECRET") or None,
        feed_max_records=_whole(environ, "FEED_MAX_RECORDS", 100_000),
        feed_backfill_seconds=_whole(environ, "FEED_BACKFILL_SECONDS", 600),
        private_addresses=_one_of(environ, "ADDRESSES", "public", "private") == "private",
        probes=_one_of(environ, "PROBES", "on", "off") == "on",
        traces_endpoint=_http_url(environ, "TRACES_ENDPOINT"),
        router_keys=_digests(environ, "ROUTER_KEY"),
        capacity_provider=environ.get("CAPACITY_PROVIDER") or None,
        task_subnets=_list(environ, "TASK_SUBNETS"),
        task_security_groups=_list(environ, "TASK_SECURITY_GROUPS"),
        waiting_sessions=_whole(environ, "WAITING_SESSIONS", 300),
        waiting_jobs=_whole(environ, "WAITING_JOBS", 100),
        jobs_capacity=_whole(environ, "JOBS_CAPACITY", 200, low=0),
        jobs_kept_for_critical=_whole(environ, "JOBS_KEPT_FOR_CRITICAL", 10, low=0),
        jobs_per_owner=_whole(environ, "JOBS_PER_OWNER", 1_000, low=0),
        jobs_per_owner_a_day=_whole(environ, "JOBS_PER_OWNER_A_DAY", 10_000, low=0),
        jobs_running_per_owner=_running_per_owner(environ),
        audit_days=_whole(environ, "AUDIT_DAYS", 90),
        authors=frozenset(_list(environ, "AUTHORS")),
        grading_bucket=environ.get("GRADING_BUCKET") or f"usher-{stage_name}-grading",
        grading_capacity=_whole(environ, "GRADING_CAPACITY", 4),
        grading_unavailable=environ.get("GRADING_UNAVAILABLE") or None,
        judges_cluster=environ.get("JUDGES_CLUSTER") or None,
        judges_capacity_provider=environ.get("JUDGES_CAPACITY_PROVIDER") or None,
        hosts_group=environ.get("HOSTS_GROUP") or None,
        hosts_max_age_seconds=_whole(environ, "HOSTS_MAX_AGE_SECONDS", 0, low=0),
        hosts_free_places=_whole(environ, "HOSTS_FREE_PLACES", 0, low=0),
        hosts_ahead_percent=_whole(environ, "HOSTS_AHEAD_PERCENT", 100, low=0),
        hosts_scale_in_seconds=_whole(environ, "HOSTS_SCALE_IN_SECONDS", 300, low=0),
        hosts_away=_whole(environ, "HOSTS_AWAY", 1),
        placement_module=environ.get("PLACEMENT_MODULE") or None,
        judges_callback_url=environ.get("JUDGES_CALLBACK_URL") or None,
        grader_images=environ.get("GRADER_IMAGES") or None,
        gradings_per_learner=_whole(environ, "GRADINGS_PER_LEARNER", 100, low=0),
        submissions_per_learner=_whole(environ, "SUBMISSIONS_PER_LEARNER", 500, low=0),
        jobs_launch_type=_one_of(environ, "JOBS_LAUNCH_TYPE", "EC2", "FARGATE"),
        execution_role_arn=environ.get("EXECUTION_ROLE_ARN") or None,
        session_role_arn=environ.get("SESSION_ROLE_ARN") or None,
        sessions_feed_password=environ.get("SESSION_FEED_PASSWORD") or None,
        app_bounds=AppBounds(
            cpu=_whole(environ, "APPS_MAX_CPU", AppBounds.cpu),
            memory=_whole(environ, "APPS_MAX_MEMORY", AppBounds.memory),
            pool=_whole(environ, "APPS_MAX_POOL", AppBounds.pool, low=0),
        ),
        capacity=_capacity(environ.get("CAPACITY_FILE")),
        architecture=_one_of(environ, "ARCHITECTURE", "x86_64", "arm64"),
    )


def _running_per_owner(environ: Mapping[str, str]) -> int:
    """Half of the capacity by default, so that no owner can use all of it."""
    capacity = _whole(environ, "JOBS_CAPACITY", 200, low=0)
    half = (capacity + 1) // 2 if capacity else 100
    return _whole(environ, "JOBS_RUNNING_PER_OWNER", half, low=0)


def _limits(environ: Mapping[str, str], of_file: Limits) -> Limits:
    return Limits(
        total=_whole(environ, "MAX_SESSIONS", of_file.total, low=0),
        per_owner=_whole(environ, "MAX_SESSIONS_PER_OWNER", of_file.per_owner, low=0),
        per_second=_whole(environ, "MAX_REQUESTS_PER_SECOND", of_file.per_second, low=0),
    )


def _http_url(environ: Mapping[str, str], name: str) -> str | None:
    value = (environ.get(name) or "").rstrip("/")
    if value and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#@]*)?", value):
        raise ConfigurationError(f"{name}: a URL of http or https without a password or query")
    return value or None


def _one_of(environ: Mapping[str, str], name: str, *choices: str) -> str:
    value = environ.get(name) or choices[0]
    if value not in choices:
        raise ConfigurationError(f"{name}: one of {', '.join(choices)}, not {value!r}")
    return value


def _digests(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    values = tuple(value.strip() for value in _list(environ, name))
    if not all(re.fullmatch(r"[0-9a-f]{64}", value) for value in values):
        raise ConfigurationError(f"{name}: SHA-256 in hex, comma separated")
    return values


def _list(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(filter(None, environ.get(name, "").split(",")))


def _whole(environ: Mapping[str, str], name: str, default: int, *, low: int = 1) -> int:
    value = environ.get(name) or str(default)
    if not value.isdecimal() or int(value) < low:
        raise ConfigurationError(f"{name}: a whole number from {low}, not {value!r}")
    return int(value)


def _auth_mode(name: str) -> AuthMode:
    if name not in set(AuthMode):
        raise ConfigurationError(f"AUTH_MODE: one of {', '.join(AuthMode)}, not {name!r}")
    return AuthMode(name)


def _api_keys(text: str) -> tuple[tuple[str, str], ...]:
    keys = []
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        name, _, digest = entry.partition(":")
        if not name or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ConfigurationError("API_KEYS: NAME:SHA256HEX, comma separated")
        keys.append((name, digest))
    return tuple(keys)


def load_apps(path: Path | None = None) -> Apps:
    """Read the apps file at `path`, or the one shipped. Raises ConfigurationError."""
    source = path or Path(__file__).with_name("apps.toml")
    try:
        return parse_apps(_document(source))
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _document(source: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(str(error)) from error


def _capacity(file: str | None) -> dict[str, Any]:
    """The document of the capacity groups' file; the shipped file may be missing."""
    source = Path(file) if file else Path(__file__).with_name("capacity.toml")
    if not file and not source.exists():
        return {}
    try:
        return _document(source)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error
