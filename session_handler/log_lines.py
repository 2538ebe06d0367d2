"""Log lines without injected line breaks: text from clients is escaped."""

import logging

_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)]
_CONTROL += range(0x2066, 0x206A)  # these and 202A to 202E change the direction of text
_ESCAPED = {code: rf"\x{code:02x}" if code < 0x100 else rf"\u{code:04x}" for code in _CONTROL}
_OF_TRACEBACK = {**_ESCAPED, ord("\n"): "\n    "}


class LineFormatter(logging.Formatter):
    """One line for each message, without control characters. Lines of a traceback are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        return super().formatMessage(record).translate(_ESCAPED)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """A traceback: its exception may contain a client's text."""
        return "    " + super().formatException(ei).translate(_OF_TRACEBACK)  # type: ignore[arg-type]
