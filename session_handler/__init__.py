"""The session container: one user's websocket on one feed, then exit."""

__version__ = "0.1.0"
