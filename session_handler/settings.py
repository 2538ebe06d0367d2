"""The session's settings from the environment: read once, completely checked, immutable."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chalicelib.contract import SESSION_PORT, Env
from session_handler.credentials import CredentialSource

DEFAULT_CONNECT_DEADLINE_SECONDS = 30.0
DEFAULT_MAX_SESSION_SECONDS = 14_400.0
DEFAULT_PING_INTERVAL_SECONDS = 20.0
DEFAULT_PING_TIMEOUT_SECONDS = 20.0
DEFAULT_REGION = "us-east-1"
ALL_ADDRESSES = "0.0.0.0"

ANY_ORIGIN = "*"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PRINTABLE = re.compile(r"[!-~]{1,128}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_COMPRESSION = re.compile(r"none|deflate")
_WRITE_URL = re.compile(r"kinesis://[a-zA-Z0-9_.-]{1,128}/?")
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/,]+")


class SettingsError(Exception):
    """The environment describes no session. `problems` lists all errors."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """One session's settings. Durations in seconds; 0 = no limit for both deadlines."""

    session_id: str
    uuid: str
    host: str
    port: int
    callback_url: str | None
    session_key: str | None
    feed_url: str | None
    feed_password: str | None = field(repr=False)
    aws_region: str
    aws_endpoint_url: str | None
    connect_deadline_seconds: float
    reconnect_grace_seconds: float
    max_session_seconds: float
    allowed_origins: frozenset[str] | None
    """None allows every origin; requests without an Origin header are not from browsers and are
    allowed."""
    tls_cert_file: str | None
    tls_key_file: str | None
    ping_interval_seconds: float
    """Interval of pings to a silent client; 0 = no pings, and no waiting for pongs."""
    ping_timeout_seconds: float
    compresses: bool
    app_class: str | None
    """`module:Class` of the session app; None forwards every record."""
    traces_endpoint: str | None
    """An OTLP/HTTP collector; None = no spans."""
    credentials_url: str | None
    """The dispatcher's URL for AWS credentials with the rights of the session's user."""
    feed_write_url: str | None
    """`kinesis://STREAM` to which a session app may write."""
    app_name: str
    revision: str
    credentials: CredentialSource

    @property
    def serves_tls(self) -> bool:
        return self.tls_cert_file is not None


class _Reader:
    """Reads variables and collects their errors."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: Env) -> str | None:
        return self._environ.get(name, "").strip() or None

    def matching(self, name: Env, pattern: re.Pattern[str], meaning: str) -> str | None:
        value = self.text(name)
        if value is not None and not pattern.fullmatch(value):
            self.problems.append(f"{name} must be {meaning}")
            return None
        return value

    def required(self, name: Env, pattern: re.Pattern[str], meaning: str) -> str:
        if self.text(name) is None:
            self.problems.append(f"{name} is missing")
        return self.matching(name, pattern, meaning) or ""

    def seconds(self, name: Env, default: float) -> float:
        value = self.text(name)
        if value is None:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            self.problems.append(f"{name} must be a number of seconds, 0 or more")
            return default
        return seconds

    def port(self, name: Env) -> int:
        value = self.text(name)
        if value is None:
            return SESSION_PORT
        if not (value.isascii() and value.isdigit()) or int(value) > 65_535:
            self.problems.append(f"{name} must be a port number (0 takes any free one)")
            return SESSION_PORT
        return int(value)

    def url(self, name: Env) -> str | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            good = False
        if not good:
            self.problems.append(f"{name} must be an http or https URL")
        return value

    def origins(self, name: Env) -> frozenset[str] | None:
        value = self.text(name)
        if value is None:
            return None
        origins = frozenset(origin.strip().lower() for origin in value.split(",") if origin.strip())
        if ANY_ORIGIN in origins:
            return None
        for origin in sorted(origins):
            if not _ORIGIN.fullmatch(origin):
                self.problems.append(f"{name} lists something that is no origin: {origin!r}")
        return origins


def parse(environ: Mapping[str, str]) -> Settings:
    """Read the variables of `chalicelib.contract.Env` and of the AWS credentials.

    Raises SettingsError with all problems at once, so that one failed start shows all mistakes in a
    task definition.
    """
    read = _Reader(environ)
    tls_cert_file, tls_key_file = read.text(Env.TLS_CERT_FILE), read.text(Env.TLS_KEY_FILE)
    if (tls_cert_file is None) != (tls_key_file is None):
        read.problems.append(f"{Env.TLS_CERT_FILE} and {Env.TLS_KEY_FILE} belong together")
    settings = Settings(
        session_id=read.required(Env.SESSION_ID, _PRINTABLE, "1 to 128 printable characters"),
        uuid=read.required(Env.SESSION_UUID, _UUID, "a UUID in lower case"),
        host=read.matching(Env.SESSION_HOST, _HOST, "an address to listen on") or ALL_ADDRESSES,
        port=read.port(Env.SESSION_PORT),
        callback_url=read.url(Env.CALLBACK_URL),
        session_key=read.matching(Env.SESSION_KEY, re.compile(r"[!-~]+"), "printable characters"),
        feed_url=read.text(Env.FEED_URL),
        feed_password=read.text(Env.FEED_PASSWORD),
        aws_region=read.text(Env.AWS_REGION) or DEFAULT_REGION,
        aws_endpoint_url=read.url(Env.AWS_ENDPOINT_URL),
        connect_deadline_seconds=read.seconds(
            Env.CONNECT_DEADLINE_SECONDS, DEFAULT_CONNECT_DEADLINE_SECONDS
        ),
        reconnect_grace_seconds=read.seconds(Env.RECONNECT_GRACE_SECONDS, 0.0),
        max_session_seconds=read.seconds(Env.MAX_SESSION_SECONDS, DEFAULT_MAX_SESSION_SECONDS),
        allowed_origins=read.origins(Env.ALLOWED_ORIGINS),
        tls_cert_file=tls_cert_file,
        tls_key_file=tls_key_file,
        ping_interval_seconds=read.seconds(
            Env.PING_INTERVAL_SECONDS, DEFAULT_PING_INTERVAL_SECONDS
        ),
        ping_timeout_seconds=read.seconds(Env.PING_TIMEOUT_SECONDS, DEFAULT_PING_TIMEOUT_SECONDS),
        compresses=read.matching(Env.COMPRESSION, _COMPRESSION, "none or deflate") == "deflate",
        app_class=read.matching(Env.SESSION_APP, _APP, "module:Class"),
        traces_endpoint=read.url(Env.TRACES_ENDPOINT),
        credentials_url=read.url(Env.CREDENTIALS_URL),
        feed_write_url=read.matching(Env.FEED_WRITE_URL, _WRITE_URL, "kinesis://STREAM"),
        app_name=read.text(Env.SESSION_APP_NAME) or read.text(Env.SESSION_APP) or "default",
        revision=read.text(Env.SESSION_REVISION) or "",
        credentials=CredentialSource.parse(environ),
    )
    if read.problems:
        raise SettingsError(read.problems)
    return settings
