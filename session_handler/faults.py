"""Texts of errors for display."""


def innermost(exc: BaseException) -> BaseException:
    """The first exception in a group of groups, or the exception itself."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def reason_of(exc: BaseException) -> str:
    """The message of the innermost exception, or its type if it has none."""
    exc = innermost(exc)
    return str(exc) or type(exc).__name__
