"""A container that serves TLS, and the renewal of its certificate during a session."""

import socket
import ssl

import pytest
from websockets.sync.client import connect

from tests.certificates import Authority
from tests.session_process import CallbackServer, SessionProcess, until


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def serial(port, context, name):
    """The serial number of the certificate that a new connection is shown."""
    raw = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(raw, server_hostname=name) as tls:
        return tls.getpeercert()["serialNumber"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])  # the second one sends no SNI
def test_a_renewed_certificate_is_served_and_the_session_goes_on(tmp_path, authority, name):
    certificate, key = authority.issue(tmp_path)
    context = ssl.create_default_context(cafile=authority.file)
    files = {"TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key}
    with CallbackServer() as callbacks, SessionProcess(callbacks=callbacks, **files) as session:
        until(lambda: callbacks.types == ["ready"], "ready")
        url = session.url.replace("ws:", "wss:").replace("127.0.0.1", name)
        port = int(session.url.split(":")[2].split("/")[0])
        with connect(url, ssl=context) as websocket:
            websocket.recv(timeout=10)
            before = serial(port, context, name)

            certificate.write_text("half a certificate")
            assert serial(port, context, name) == before

            authority.issue(tmp_path)
            assert serial(port, context, name) != before
            websocket.ping().wait(10)  # still the same connection, and answered
        assert session.exit_code() == 0
