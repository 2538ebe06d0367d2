"""`python -m session_handler`: reads the environment, serves one session, exits.

Exit codes: 0 the session ended as sessions do, 1 it failed, 2 the environment is wrong.
"""

import contextlib
import os
import signal
import sys
from types import FrameType


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def finish_output() -> None:
    """Flush the standard streams. A log that nobody can take (a full disk, a closed pipe) is
    dropped: the interpreter would otherwise end with 120, whatever became of the session.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue  # closed before we started
        try:
            stream.flush()
        except (OSError, ValueError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, stream.fileno())
            os.close(sink)


def main() -> int:
    # A container's first process ignores signals it has no handler for, and the imports below
    # take most of the start: whoever stops us before we listen shall not have to wait.
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

    # A log that cannot be written breaks no session, and is not reported where it would go.
    logging.raiseExceptions = False

    shown = logging.StreamHandler(sys.stderr)
    line = f"%(asctime)s %(levelname)s session={settings.session_id} %(message)s"
    shown.setFormatter(LineFormatter(line))
    logging.basicConfig(level=logging.INFO, handlers=[shown])
    # What strangers send to an open port is no news.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)

    from session_handler.container import Container

    # What is imported stays: the collector need not look at it again.
    gc.freeze()

    async def serve() -> int:
        return await Container(settings).run()

    return asyncio.run(serve())


if __name__ == "__main__":
    exit_code = main()
    finish_output()
    sys.exit(exit_code)
