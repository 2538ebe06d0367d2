"""Requests to containers whether their clients are connected, many in parallel.

Slow containers cost their timeout once, because requests run in parallel. Containers that were not
reached within PROBES_SECONDS are left to the next sweep.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from chalicelib.apps import App
from chalicelib.sessions.model import Session

Answer = TypeVar("Answer")

PROBES_SECONDS = 6.0
"""For all requests of one sweep together."""
AT_ONCE = 32


def health_url(session: Session, app: App | None, *, pings_client: bool = False) -> str:
    """The health URL of a container; with `pings_client` the container pings its client before it
    answers.
    """
    scheme = "https" if app is not None and app.serves_tls else "http"
    ip = f"[{session.ip}]" if ":" in (session.ip or "") else session.ip
    return f"{scheme}://{ip}:{session.port}/healthz{'?ping' if pings_client else ''}"


def ask_all(probe: Callable[[str], Answer], urls: Sequence[str]) -> dict[str, Answer]:
    """The answers of the containers, by URL; those that were not reached in time are missing.

    `probe` must have a timeout: a thread cannot be cancelled.
    """
    asked = list(dict.fromkeys(urls))
    if len(asked) < 2:
        return {url: probe(url) for url in asked}
    pool = ThreadPoolExecutor(min(AT_ONCE, len(asked)), thread_name_prefix="probe")
    futures: dict[Future[Answer], str] = {pool.submit(probe, url): url for url in asked}
    done, _ = wait(futures, PROBES_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return {futures[each]: each.result() for each in done if not each.cancelled()}
