"""The certificate of a container that serves TLS itself; renewed while it runs."""

import logging
import os
import ssl

log = logging.getLogger(__name__)


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A context that serves the files' present content at each handshake: a renewal needs no
    restart, and open connections keep their certificate.

    Raises OSError if the files cannot be read at the start; later files that do not match, for
    example while they are being written, leave the last valid pair in use.
    """
    renewal = _Renewal(certificate, key)
    context = renewal.load()
    # Python calls this for every ClientHello, with or without a server name.
    context.sni_callback = renewal.choose
    return context


class _Renewal:
    """Compares the files' modification times: two calls of stat for a handshake."""

    def __init__(self, certificate: str, key: str) -> None:
        self._files = (certificate, key)
        self._seen = self._times()
        self._current: ssl.SSLContext | None = None

    def load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        return context

    def choose(self, tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        times = self._times()
        if times != self._seen:
            self._seen = times
            try:
                self._current = self.load()
                log.info("serving a renewed certificate")
            except OSError as error:
                log.warning("the renewed certificate cannot be used: %s", error)
        if self._current is not None:
            tls.context = self._current

    def _times(self) -> tuple[int, ...]:
        try:
            return tuple(os.stat(file).st_mtime_ns for file in self._files)
        except OSError:
            return ()
