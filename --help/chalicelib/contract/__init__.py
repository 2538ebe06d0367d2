"""Names shared by the dispatcher and session containers.

The only package of `chalicelib` in a session image; standard library only. docs/contracts.md
describes each name for developers of containers in other languages.
"""

from enum import StrEnum

SESSION_PORT = 8080
"""Default port of a session container."""


class Env(StrEnum):
    """Environment variables of a session container."""

    SESSION_ID = "SESSION_ID"
    SESSION_UUID = "SESSION_UUID"
    SESSION_HOST = "SESSION_HOST"
    SESSION_PORT = "SESSION_PORT"
    SESSION_KEY = "SESSION_KEY"
    SESSION_APP = "SESSION_APP"
    SESSION_APP_NAME = "SESSION_APP_NAME"
    SESSION_REVISION = "SESSION_REVISION"
    CALLBACK_URL = "CALLBACK_URL"
    CREDENTIALS_URL = "CREDENTIALS_URL"
    FEED_URL = "FEED_URL"
    FEED_PASSWORD = "FEED_PASSWORD"  # noqa: S105 - a name
    FEED_WRITE_URL = "FEED_WRITE_URL"
    AWS_REGION = "AWS_REGION"
    AWS_ENDPOINT_URL = "AWS_ENDPOINT_URL"
    CONNECT_DEADLINE_SECONDS = "CONNECT_DEADLINE_SECONDS"
    RECONNECT_GRACE_SECONDS = "RECONNECT_GRACE_SECONDS"
    MAX_SESSION_SECONDS = "MAX_SESSION_SECONDS"
    ALLOWED_ORIGINS = "ALLOWED_ORIGINS"
    TLS_CERT_FILE = "TLS_CERT_FILE"
    TLS_KEY_FILE = "TLS_KEY_FILE"
    PING_INTERVAL_SECONDS = "PING_INTERVAL_SECONDS"
    PING_TIMEOUT_SECONDS = "PING_TIMEOUT_SECONDS"
    COMPRESSION = "COMPRESSION"
    TRACES_ENDPOINT = "TRACES_ENDPOINT"


class Callback(StrEnum):
    """`type` of the JSON body that a container sends to CALLBACK_URL by POST, with its key as
    bearer token.

    Repeated until the answer is a 2xx, or a 4xx other than 408, 425 and 429, which is final.
    `stopping` has a `reason`, `failed` a `detail` for display.
    """

    READY = "ready"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    STOPPING = "stopping"
    FAILED = "failed"


class Bye(StrEnum):
    """The reason why the container closes the connection: `reason` of the `bye` message and of
    `stopping`.
    """

    DISCONNECTED = "disconnected"
    NEVER_CONNECTED = "never_connected"
    EXPIRED = "expired"
    STOPPED = "stopped"
    SLOW_CLIENT = "slow_client"
    APP_FAILED = "app_failed"
    FEED_FAILED = "feed_failed"


class Message(StrEnum):
    """`type` of a JSON text frame on the websocket."""

    HELLO = "hello"
    RECORDS = "records"
    GAP = "gap"
    BYE = "bye"
    APP = "app"
