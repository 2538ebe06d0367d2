"""`python -m session_handler`: reads the environment, serves one session, exits.

Exit codes: 0 the session ended as sessions do, 1 it failed, 2 the environment is wrong.
"""

import os
import signal
import sys
from types import FrameType


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def main() -> int:
    # A container's first process ignores signals it has no handler for, and the imports below
    # take most of the start: whoever stops us before we listen shall not have to wait.
    signal.signal(signal.SIGTERM, _exit_at_once)

    from session_handler.lean_imports import load_on_demand

    load_on_demand("importlib.metadata")

    import asyncio
    import gc
    import logging

    from session_handler.settings import SettingsError, parse

    try:
        settings = parse(os.environ)
    except SettingsError as exc:
        for problem in exc.problems:
            sys.stderr.write(f"session_handler: {problem}\n")
        return 2

    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)s session={settings.session_id} %(message)s",
    )
    # What strangers send to an open port is no news.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)

    from session_handler.container import Container

    # What is imported stays: the collector need not look at it again.
    gc.freeze()

    async def serve() -> int:
        return await Container(settings).run()

    return asyncio.run(serve())


if __name__ == "__main__":
    sys.exit(main())
