"""The session container: serves one user's websocket with one feed, then exits."""

__version__ = "0.1.0"
