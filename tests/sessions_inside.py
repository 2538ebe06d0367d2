"""Session containers inside the test's own process: hundreds of them in seconds."""

import asyncio
import uuid
from contextlib import asynccontextmanager

from session_handler.container import Container
from session_handler.settings import parse


@asynccontextmanager
async def inside(feed_url, **environment):
    """A running session; gives its websocket address."""
    path = str(uuid.uuid4())
    container = Container(
        parse(
            {
                "SESSION_ID": "the-id",
                "SESSION_UUID": path,
                "SESSION_HOST": "127.0.0.1",
                "SESSION_PORT": "0",
                "FEED_URL": feed_url,
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                **environment,
            }
        )
    )
    running = asyncio.create_task(container.run())
    try:
        while not container.health()[1]["ready"]:
            assert not running.done(), "the session did not start"
            await asyncio.sleep(0.001)
        yield f"ws://127.0.0.1:{container.port}/{path}"
    finally:
        container._stop()
        await asyncio.wait_for(running, 30)
