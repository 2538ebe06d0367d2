"""Errors for callers. All messages are for display."""


class UsherError(Exception):
    """The base of all."""


class ProjectError(UsherError):
    """The project has no such job, or a module of it cannot be imported."""


class DescriptionError(ProjectError):
    """A job class is invalid; the message has the class and the field."""


class UnreachableError(UsherError):
    """The dispatcher gave no valid answer, despite repetitions."""


class AnswerError(UsherError):
    """The dispatcher answered with an error: see `status` and `code`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds: float | None = None
        """Seconds after which to repeat the request, if the answer has them."""


class SessionEndedError(UsherError):
    """The session ended and is not replaced; `reason` is one of docs/contracts.md."""

    def __init__(self, reason: str, detail: str = "", cursor: str | None = None) -> None:
        super().__init__(f"the session ended: {reason}" + (f" ({detail})" if detail else ""))
        self.reason = reason
        self.cursor = cursor


class WaitTimeoutError(UsherError):
    """The invocation had not ended in time. It continues."""
