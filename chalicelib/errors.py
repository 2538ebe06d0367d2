"""The domain's errors, and the HTTP status of each.

Raised where the mistake is found, rendered by `chalicelib.api.http.answering` as
`{"error": {"code", "message"}}`. A lost conditional write is no error but a result.
"""


class UsherError(Exception):
    """An answer other than success. `code` is for programs, the message for people."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BadRequestError(UsherError):
    """The request is malformed; repeating it unchanged is pointless."""

    status = 400
    code = "bad_request"


class UnknownAppError(BadRequestError):
    """`app` names nothing this deployment offers."""

    code = "unknown_app"


class UnknownJobError(BadRequestError):
    """No job of this name is deployed."""

    code = "unknown_job"


class ImpossibleTaskError(BadRequestError):
    """ECS has no task of the kind that the app or job asks for; the message has its words."""

    code = "impossible_task"


class InvalidParametersError(BadRequestError):
    """The parameters do not fit the job's schema; nothing was queued."""

    code = "invalid_parameters"


class UnsupportedMediaTypeError(UsherError):
    """A Content-Type other than `application/json`, or what else the route takes."""

    status = 415
    code = "unsupported_media_type"


class UnauthorizedError(UsherError):
    """The caller is unknown, or the key is wrong."""

    status = 401
    code = "unauthorized"


class NoRouteError(UsherError):
    """No container may be reached by this path. 403: nginx's auth_request knows no 404."""

    status = 403
    code = "no_route"


class NotFoundError(UsherError):
    """No such thing, or none of yours."""

    status = 404
    code = "not_found"


class ForbiddenError(UsherError):
    """The caller is known and lacks the permission."""

    status = 403
    code = "forbidden"


class ConflictError(UsherError):
    """The state of things does not allow it."""

    status = 409
    code = "conflict"


class LimitError(UsherError):
    """A limit on sessions or requests is reached; it is worth coming back.

    `counters` are the keys of the counters that are full.
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
    """Too many requests touch the same thing at once; it is worth coming back."""

    status = 429
    code = "busy"


class RevisionFailingError(UsherError):
    """The app's containers keep failing to start, so none is started for a while."""

    status = 503
    code = "app_failing"


class StartFailedError(UsherError):
    """The container ended before it was ready; the message is ECS's reason or its own."""

    status = 503
    code = "failed_to_start"


class UnavailableError(UsherError):
    """Something the dispatcher leans on does not answer."""

    status = 503
    code = "unavailable"


class UnreadableRecordError(UsherError):
    """The record is there and is none of this version: a newer one wrote it, or it is damaged.

    503, so that containers repeat their calls and clients come back: the record is kept, and can
    be read again once the version that wrote it is deployed.
    """

    status = 503
    code = "unreadable_record"

    def __init__(self, record_id: str, *, has_ended: bool) -> None:
        super().__init__("the record cannot be read by this version", retry_after_seconds=60)
        self.record_id = record_id
        self.has_ended = has_ended
        """Whether it is that of something that has ended."""


class ConfigurationError(Exception):
    """The deployment is set up wrongly; every problem found is in the message."""
