"""The domain's errors with their HTTP status.

`chalicelib.api.http.answering` renders them as `{"error": {"code", "message"}}`. A failed
conditional write is a result, not an error.
"""


class UsherError(Exception):
    """An error answer. `code` is for programs, the message for display."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BadRequestError(UsherError):
    """The request is malformed; an unchanged repetition fails again."""

    status = 400
    code = "bad_request"


class UnknownAppError(BadRequestError):
    """The deployment has no app of this name."""

    code = "unknown_app"


class UnknownJobError(BadRequestError):
    """No job of this name is deployed."""

    code = "unknown_job"


class ImpossibleTaskError(BadRequestError):
    """ECS has no tasks with the requirements of the app or job; the message is ECS's."""

    code = "impossible_task"


class InvalidParametersError(BadRequestError):
    """The parameters do not fit the job's schema; nothing was queued."""

    code = "invalid_parameters"


class UnsupportedMediaTypeError(UsherError):
    """The Content-Type is not `application/json`, or another one that the route accepts."""

    status = 415
    code = "unsupported_media_type"


class UnauthorizedError(UsherError):
    """The caller is unknown, or the key is wrong."""

    status = 401
    code = "unauthorized"


class NoRouteError(UsherError):
    """The path leads to no container. 403, because nginx's auth_request does not support 404."""

    status = 403
    code = "no_route"


class NotFoundError(UsherError):
    """It does not exist, or belongs to another owner."""

    status = 404
    code = "not_found"


class ForbiddenError(UsherError):
    """The caller is known and lacks the permission."""

    status = 403
    code = "forbidden"


class ConflictError(UsherError):
    """The present state does not allow it."""

    status = 409
    code = "conflict"


class LimitError(UsherError):
    """A limit on sessions or requests is reached; the request may be repeated later.

    `counters` are the keys of the full counters.
    """

    status = 429
    code = "limit_reached"

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: int | None = None,
        counters: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.counters = counters


class BusyError(UsherError):
    """Too many concurrent requests write the same record; the request may be repeated."""

    status = 429
    code = "busy"


class RevisionFailingError(UsherError):
    """The app's containers fail to start, so no further one is started for a while."""

    status = 503
    code = "app_failing"


class StartFailedError(UsherError):
    """The container ended before it was ready; the message has ECS's reason or the container's."""

    status = 503
    code = "failed_to_start"


class UnavailableError(UsherError):
    """A service that the dispatcher depends on does not answer."""

    status = 503
    code = "unavailable"


class UnreadableRecordError(UsherError):
    """The record exists and cannot be read by this version: a newer version wrote it, or it is
    damaged.

    503, so that containers and clients repeat their requests: the record is kept and can be read
    when the version that wrote it is deployed again.
    """

    status = 503
    code = "unreadable_record"

    def __init__(self, record_id: str, *, has_ended: bool) -> None:
        super().__init__("the record cannot be read by this version", retry_after_seconds=60)
        self.record_id = record_id
        self.has_ended = has_ended
        """Whether it is that of something that has ended."""


class ConfigurationError(Exception):
    """The deployment's configuration is wrong; the message has every problem."""
