"""A TCP proxy that can go silent: it stops forwarding, and closes nothing."""

import contextlib
import socket
import threading


class SilentProxy:
    """Forwards to a port on the loopback; `go_silent` affects the existing connections."""

    def __init__(self, port):
        self._target = port
        self._connections = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self):
        for silent, *_ in self._connections:
            silent.set()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                silent = threading.Event()
                self._connections.append((silent, client, server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._forward, args=(source, target, silent), daemon=True
                    ).start()

    def _forward(self, source, target, silent):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if silent.is_set():
                    return
                target.sendall(data)
            if not silent.is_set():
                target.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        for _, client, server in self._connections:
            client.close()
            server.close()
