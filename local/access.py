"""Access to the ports of the embedded cloud. Pure.

The ports have no authentication: access to this machine is the credential. A browser on this
machine runs the code of any web page. Each request must therefore name this server (Host, against
DNS rebinding), and a browser's request must come from an allowed page. Other programs send none of
the headers below; pages can neither omit nor change them.

https://fetch.spec.whatwg.org/#forbidden-request-header https://www.w3.org/TR/fetch-metadata/
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]", "host.docker.internal")
"""Names that are resolved by this machine's own configuration only: no web page can have one of
them."""

SET_BY_BROWSERS = ("sec-fetch-site", "sec-fetch-dest")
"""Browsers send these and Sec-Fetch-Mode together or none of them. Node's `fetch` sends
Sec-Fetch-Mode alone, so that one does not show a page.
"""
ONLY_SESSIONS = "pages of other origins may ask for sessions, and for nothing else"
_OF_SESSIONS = re.compile(r"/session(s/[^/?]+)?(\?.*)?")
"""`GET /session`, and reading and stopping the session that it returned."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class AccessRule:
    """The hosts and origins that one port accepts. Hosts are `name:port` in lower case, as
    `host_of` returns them.
    """

    hosts: frozenset[str]
    pages: bool = False
    """Whether this server's own pages may use it."""
    origins: frozenset[str] = frozenset()
    """Further origins, whose pages may use sessions only; for ports with `pages`."""

    def refusal(self, method: str, target: str, headers: Sequence[tuple[str, str]]) -> str | None:
        """Why a request is refused, for display; None if it is accepted.

        `headers` as received, names in any case, with repetitions.
        """
        hosts = [value for name, value in headers if name.lower() == "host"]
        host = host_of(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._knows(host):
            return (
                "this Host is not allowed here: use 127.0.0.1 or localhost with the port, "
                "or start with --allowed-host"
            )
        if not (target.startswith("/") or (method == "OPTIONS" and target == "*")):
            return "the request target must be a path"
        return self._refusal_of_page(host, target, headers)

    def _knows(self, host: str) -> bool:
        """`*.localhost` is resolved to this machine (RFC 6761): SDKs put a bucket's name there."""
        name, _, port = host.rpartition(":")
        return host in self.hosts or (
            name.endswith(".localhost") and f"localhost:{port}" in self.hosts
        )

    def _refusal_of_page(
        self, host: str, target: str, headers: Sequence[tuple[str, str]]
    ) -> str | None:
        origins = [value for name, value in headers if name.lower() == "origin"]
        fetch = {name.lower(): value for name, value in headers if name.lower() in SET_BY_BROWSERS}
        if not origins and not fetch:
            return None
        if not self.pages:
            return "this port is not for web pages"
        if origins:
            return self._refusal_of_origin(host, target, origins)
        if fetch.get("sec-fetch-site") in ("same-origin", "none"):
            return None
        return "requests of other pages are not allowed here: start with --allowed-origin"

    def _refusal_of_origin(self, host: str, target: str, origins: Sequence[str]) -> str | None:
        origin = origins[0].lower() if len(origins) == 1 else ""
        if origin in origins_of([host]):
            return None
        if origin in self.origins:
            return None if _OF_SESSIONS.fullmatch(target) else ONLY_SESSIONS
        return "this Origin is not allowed here: start with --allowed-origin"


def host_of(header: str) -> str | None:
    """A Host header as `name:port` in lower case, with port 80 by default; None if malformed."""
    found = _HOST.fullmatch(header.strip().lower())
    return f"{found[1]}:{int(found[2] or 80)}" if found else None


def hosts_at(port: int, names: Iterable[str] = ()) -> frozenset[str]:
    """The loopback names with `port`, and `names`: NAME:PORT, or NAME with `port` and, as a proxy
    in front of it has them, without one. Raises ValueError.
    """
    found = {f"{name}:{port}" for name in LOOPBACK_NAMES}
    for name in names:
        host = host_of(name)
        if host is None:
            raise ValueError(f"{name!r} is no host name")
        found.add(host)
        if not re.search(r":[0-9]+$", name):
            found.add(f"{name.strip().lower()}:{port}")
    return frozenset(found)


def origin_of(text: str) -> str:
    """An origin as browsers write it. Raises ValueError."""
    found = re.fullmatch(r"(https?)://([^/?#@\s]+)/?", text.strip().lower())
    if found is None or host_of(found[2]) is None:
        raise ValueError(f"{text!r} is no origin: http://HOST:PORT")
    default = {"http": ":80", "https": ":443"}[found[1]]
    return f"{found[1]}://{found[2].removesuffix(default)}"


def origins_of(hosts: Iterable[str]) -> frozenset[str]:
    """The origins of the pages that a server with these hosts serves, by itself or behind TLS."""
    return frozenset(
        f"{scheme}://{host.removesuffix(':80')}" for host in hosts for scheme in ("http", "https")
    )
