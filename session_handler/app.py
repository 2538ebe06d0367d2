"""The per-user part: subclass SessionApp and name it in SESSION_APP as `module:Class`."""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from session_handler.feeds.records import Record

DEFAULT_APP = "session_handler.apps:Filter"


class AppError(Exception):
    """SESSION_APP names no usable class; the message is for people."""


class AppSession:
    """What a session app may know of its session, and do to its client."""

    def __init__(
        self,
        session_id: str,
        app_name: str,
        revision: str,
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.session_id = session_id
        self.app_name = app_name
        self.revision = revision
        self._send = send

    async def send(self, message: dict[str, Any]) -> None:
        """Send the client `{"type": "app", **message}`; nothing happens while it is away.

        Raises ValueError or TypeError for what JSON cannot express.
        """
        await self._send(message)


class SessionApp:
    """Forwards every record. Override what your users need.

    One instance lives as long as its session. Its methods are never called at the same time,
    but for `on_message`, which may run between two records. An exception ends the session:
    the client hears `app_failed`, and no other session is touched.
    """

    @property
    def forwards_everything(self) -> bool:
        """Whether records need not be shown to the app now, which is much cheaper."""
        return type(self).on_record is SessionApp.on_record

    async def on_start(self, session: AppSession) -> None:
        """Called once, when the client is there, before the first record."""

    async def on_record(self, record: Record) -> Record | None:
        """Return what the client shall get: the record, `record.with_data(…)`, or None."""
        return record

    async def on_message(self, message: dict[str, Any]) -> None:
        """Called with each message of the client, without its `type`."""

    async def on_stop(self, reason: str) -> None:
        """Called once, if `on_start` was, when the session ends for `reason` (see `Bye`)."""


def load_app(name: str | None) -> SessionApp:
    """Make the app that `module:Class` names; the one that clients may filter with, without.

    Raises AppError when the module, the class or the making of it fails.
    """
    name = name or DEFAULT_APP
    module_name, _, class_name = name.partition(":")
    try:
        app_class = getattr(importlib.import_module(module_name), class_name)
    except Exception as exc:
        raise AppError(f"SESSION_APP {name}: {type(exc).__name__}: {exc}") from exc
    if not (isinstance(app_class, type) and issubclass(app_class, SessionApp)):
        raise AppError(f"SESSION_APP {name}: not a subclass of session_handler.app.SessionApp")
    try:
        return app_class()
    except Exception as exc:
        raise AppError(f"SESSION_APP {name}: {type(exc).__name__}: {exc}") from exc
