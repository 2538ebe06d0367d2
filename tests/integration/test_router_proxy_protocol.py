"""The router behind a balancer that sends the PROXY protocol: each client has its own address."""

import json
import socket
import ssl
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.certificates import Authority
from tests.needs import needs_nginx
from tests.router import Router
from tests.session_process import until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
"""The header that a balancer sends with its own health checks."""


def header(address: IPv4Address | IPv6Address) -> bytes:
    """Version 2, command PROXY, https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt"""
    family = b"\x11" if address.version == 4 else b"\x21"
    ports = (40_000).to_bytes(2) + (443).to_bytes(2)
    body = address.packed + address.packed + ports
    return SIGNATURE + b"\x21" + family + len(body).to_bytes(2) + body


def ask(router: Router, context: ssl.SSLContext, before: bytes, path: str = "/nobody") -> bytes:
    """The first line of the answer; nothing where the connection was closed instead."""
    try:
        with socket.create_connection(("127.0.0.1", router.port), 10) as plain:
            plain.sendall(before)
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                secured.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return secured.recv(4096).partition(b"\r\n")[0]
    except (ConnectionError, ssl.SSLError):
        return b""


def logged(router: Router) -> list[str]:
    lines = [line for line in list(router.log) if line.startswith("{")]
    return [json.loads(line)["ip"] for line in lines]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder)
    return authority.issue(folder), ssl.create_default_context(cafile=authority.file)


@pytest.fixture(scope="module")
def behind_balancer(files, tmp_path_factory):
    trusted = {"PROXY_PROTOCOL_FROM": "192.0.2.0/24,127.0.0.0/8"}
    folder = tmp_path_factory.mktemp("router")
    with Router(folder, "http://127.0.0.1:1", files[0], **trusted) as router:
        yield router, files[1]


@needs_nginx
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(address=st.ip_addresses())
def test_the_address_of_the_client_is_the_one_that_the_balancer_tells(behind_balancer, address):
    router, context = behind_balancer
    seen = len(logged(router))
    assert b" 404 " in ask(router, context, header(address))
    until(lambda: len(logged(router)) > seen, "the request to be logged")
    assert ip_address(logged(router)[-1]) == address


@needs_nginx
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(garbage=st.one_of(st.just(b""), st.binary(max_size=64)))
def test_who_sends_no_header_is_not_served_and_the_next_one_is(behind_balancer, garbage):
    router, context = behind_balancer
    assert ask(router, context, garbage) == b""
    assert b" 404 " in ask(router, context, header(IPv4Address("198.51.100.1")))


@needs_nginx
def test_health_checks_of_the_balancer_are_answered(behind_balancer):
    router, context = behind_balancer
    assert b" 200 " in ask(router, context, LOCAL, "/healthz")


@needs_nginx
def test_who_is_no_balancer_tells_nobody_its_address(files, tmp_path):
    trusted = {"PROXY_PROTOCOL_FROM": "192.0.2.0/24"}
    with Router(tmp_path, "http://127.0.0.1:1", files[0], **trusted) as router:
        assert b" 404 " in ask(router, files[1], header(IPv4Address("198.51.100.1")))
        until(lambda: logged(router), "the request to be logged")
        assert logged(router) == ["127.0.0.1"]


@needs_nginx
def test_without_a_balancer_a_header_is_an_error(files, tmp_path):
    with Router(tmp_path, "http://127.0.0.1:1", files[0]) as router:
        assert ask(router, files[1], header(IPv4Address("198.51.100.1"))) == b""
        assert b" 404 " in ask(router, files[1], b"")
