"""`python -m session_handler`: reads the environment, serves one session, exits.

Exit codes: 0 normal end of the session, 1 failure, 2 invalid environment.
"""

import contextlib
import os
import signal
import sys
from types import FrameType


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def finish_output() -> None:
    """Flush the standard streams. Output that cannot be written (a full disk, a closed pipe) is
    dropped: the interpreter would otherwise exit with 120.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue  # closed before the start
        try:
            stream.flush()
        except (OSError, ValueError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, stream.fileno())
            os.close(sink)


def main() -> int:
    # Process 1 ignores signals without a handler, and the imports below take most of the start: a
    # SIGTERM before listening must end it at once.
    signal.signal(signal.SIGTERM, _exit_at_once)

    from session_handler.lean_imports import load_on_demand

    load_on_demand("importlib.metadata")

    import asyncio
    import gc
    import logging

    from session_handler.log_lines import LineFormatter
    from session_handler.settings import SettingsError, parse

    try:
        settings = parse(os.environ)
    except SettingsError as exc:
        if sys.stderr is not None:
            with contextlib.suppress(OSError):
                sys.stderr.writelines(f"session_handler: {p}\n" for p in exc.problems)
        return 2

    # A log that cannot be written must neither break the session nor be reported to the same
    # stream.
    logging.raiseExceptions = False

    shown = logging.StreamHandler(sys.stderr)
    line = f"%(asctime)s %(levelname)s session={settings.session_id} %(message)s"
    shown.setFormatter(LineFormatter(line))
    logging.basicConfig(level=logging.INFO, handlers=[shown])
    # Invalid data from unknown clients at an open port is not worth a log record.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)

    from session_handler.container import Container

    # Imported objects stay: exclude them from garbage collection.
    gc.freeze()

    async def serve() -> int:
        return await Container(settings).run()

    return asyncio.run(serve())


if __name__ == "__main__":
    exit_code = main()
    finish_output()
    sys.exit(exit_code)
