"""The cursor file of `usher tail`: always complete, and readable by its owner only."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from usher.cli.text import UsageError


def load_cursor(file: Path, app: str | None) -> str | None:
    """The stored cursor; None if there is no file. Raises UsageError if it belongs to another
    app.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if not file.parent.is_dir():
            raise UsageError(f"--cursor-file: there is no folder {str(file.parent)!r}") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--cursor-file: {error}") from None
    try:
        document = json.loads(text)
        cursor, of = document["cursor"], document["app"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"--cursor-file: {str(file)!r} is no file of `usher tail`") from None
    if not isinstance(cursor, str):
        raise UsageError(f"--cursor-file: {str(file)!r} is no file of `usher tail`")
    if of != app:
        raise UsageError(f"--cursor-file: {str(file)!r} is that of the app {of}")
    return cursor


def save_cursor(file: Path, app: str | None, cursor: str) -> None:
    """Replace it atomically: a reader, or a crash, finds the previous or the new one.

    Raises UsageError if it cannot be written.
    """
    try:
        # mkstemp creates it with mode 0600.
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as target:
                target.write(json.dumps({"app": app, "cursor": cursor}) + "\n")
            os.replace(name, file)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as error:
        raise UsageError(f"--cursor-file: {error}") from None
