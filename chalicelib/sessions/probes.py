"""Where containers are asked whether their clients are there, and asking many at once.

One container that does not answer costs its deadline, and so do many: they are asked side by side,
and after PROBES_SECONDS the rest goes unasked until the next sweep.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from chalicelib.apps import App
from chalicelib.sessions.model import Session

Answer = TypeVar("Answer")

PROBES_SECONDS = 6.0
"""For all containers of one sweep together."""
AT_ONCE = 32


def health_url(session: Session, app: App | None, *, pings_client: bool = False) -> str:
    """Where a container is asked; with `pings_client` it asks its client before it answers."""
    scheme = "https" if app is not None and app.serves_tls else "http"
    ip = f"[{session.ip}]" if ":" in (session.ip or "") else session.ip
    return f"{scheme}://{ip}:{session.port}/healthz{'?ping' if pings_client else ''}"


def ask_all(probe: Callable[[str], Answer], urls: Sequence[str]) -> dict[str, Answer]:
    """What each container answered, by URL; without those that there was no time to ask.

    `probe` must return within a bounded time by itself: a thread cannot be ended.
    """
    asked = list(dict.fromkeys(urls))
    if len(asked) < 2:
        return {url: probe(url) for url in asked}
    pool = ThreadPoolExecutor(min(AT_ONCE, len(asked)), thread_name_prefix="probe")
    futures: dict[Future[Answer], str] = {pool.submit(probe, url): url for url in asked}
    done, _ = wait(futures, PROBES_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return {futures[each]: each.result() for each in done if not each.cancelled()}
