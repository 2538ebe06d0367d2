"""Detects session apps that block the event loop."""

import asyncio
import logging

POLL_SECONDS = 1.0
LATE_SECONDS = 0.5

log = logging.getLogger(__name__)


async def watch_loop() -> None:
    """Log a warning whenever the loop was blocked for more than LATE_SECONDS; runs until cancelled.

    A blocked loop sends nothing to the client and reads neither its messages nor its pongs.
    """
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(POLL_SECONDS)
        late = loop.time() - began - POLL_SECONDS
        if late > LATE_SECONDS:
            log.warning(
                "nothing ran for %.1f s: the session app blocked the event loop "
                "(await, or use session.run_blocking)",
                late,
            )
