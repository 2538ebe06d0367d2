"""Measures the bytes that a connection's peer has acknowledged, from the kernel.

A peer accepts a byte when its kernel acknowledges it. Bytes are counted on the wire, below TLS and
compression, so one measure applies to all connections.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from typing import NamedTuple

TCP_INFO = getattr(socket, "TCP_INFO", 11)
_TCP_INFO_BYTES = 128
_BYTES_ACKED = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` of Linux's `struct tcp_info` (4.1 and later)."""


class Outflow(NamedTuple):
    """The state of one connection. Bytes on the wire."""

    taken: int
    """Acknowledged by the peer since the connection began."""
    waiting: int
    """Written and not acknowledged: in the transport, in TLS, in the socket."""

    @property
    def written(self) -> int:
        return self.taken + self.waiting


def measure(transport: asyncio.WriteTransport) -> Outflow:
    """If the kernel has no data (not Linux, not TCP), `taken` is 0 and `waiting` is the transport's
    buffer: only its shrinking shows that the peer reads.
    """
    waiting = transport.get_write_buffer_size()
    # The transport below TLS has a buffer too, and no public name.
    beneath = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    if beneath is not None:
        waiting += beneath.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, _TCP_INFO_BYTES)
        (queued,) = struct.unpack("=i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
        (taken,) = _BYTES_ACKED.unpack(info)
    except (AttributeError, OSError, ValueError, struct.error):
        return Outflow(0, waiting)
    return Outflow(taken, waiting + queued)
