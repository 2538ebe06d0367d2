"""A service of the AWS endpoint that another emulator serves: what reaches it, and what returns."""

import http.client
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, create_server

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.access import AccessRule, hosts_at
from local.aws import forwarding
from local.aws.endpoint import Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.forwarding import Forwarder, OtherService, UnreachableServiceError
from local.aws.http_server import HttpServer
from local.aws.wire import json_answer

REGION = "eu-central-1"


class Emulator:
    """Keeps what it is sent; answers with `status`, `headers` and the pieces of `body`."""

    def __init__(self):
        self.requests, self.connections = [], []
        self.status, self.headers, self.body = 200, {}, [b'{"TableNames": []}']
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                outer.requests.append((self.path, dict(self.headers), self.rfile.read(length)))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for piece in outer.body:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                except ConnectionError:
                    self.close_connection = True

            def do_GET(self):
                self.do_POST()

            def setup(self):
                super().setup()
                outer.connections.append(self.connection)

            def log_message(self, *_):
                pass

        self._handler = Handler
        self._start(0)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"

    def _start(self, port):
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        while self.connections:
            with suppress(OSError):
                self.connections.pop().shutdown(SHUT_RDWR)

    def start_again(self):
        self._start(self.server.server_port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@pytest.fixture
def emulator():
    with Emulator() as emulator:
        yield emulator


@contextmanager
def served_by(url, name="dynamodb"):
    """The AWS endpoint with one service forwarded to `url`; yields its own URL."""
    endpoint = Endpoint(
        moto=None,
        ecs=None,
        hosts=Hosts(lambda _: None, lambda _: None, lambda _: None),
        faults=Faults(),
        control=lambda _: json_answer({}),
        publish=lambda _: None,
        region=REGION,
        forwarded={name: Forwarder(OtherService(name, url), REGION).answer},
    )
    listener = create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = HttpServer(listener, endpoint.answer, AccessRule(hosts_at(port)))
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


def client_at(url, service="dynamodb", key="function-sweep", region="ap-southeast-2"):
    return boto3.session.Session().client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="its secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


def nobodys_url():
    with create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_call_arrives_signed_for_its_server_and_its_region(emulator):
    with served_by(emulator.url) as url:
        assert client_at(url).list_tables(Limit=7)["TableNames"] == []
    [(path, headers, body)] = emulator.requests
    assert (path, json.loads(body)) == ("/", {"Limit": 7})
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["host"] == emulator.host
    assert headers["x-amz-target"] == "DynamoDB_20120810.ListTables"
    assert "/ap-southeast-2/dynamodb/aws4_request" in headers["authorization"]
    assert signature_of(emulator.url, body, headers) == headers["authorization"]


def signature_of(url, body, headers):
    """Returns the signature that a server with the secret of `local` expects."""
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    again = AWSRequest("POST", f"{url}/", data=body, headers={n: headers[n] for n in names})
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials("local", "local"), "dynamodb", "ap-southeast-2")
    text = signer.string_to_sign(again, signer.canonical_request(again))
    start = headers["authorization"].rpartition("Signature=")[0]
    return f"{start}Signature={signer.signature(text, again)}"


def test_all_callers_are_one_principal_there(emulator):
    with served_by(emulator.url) as url:
        for key in ("local", "functions", "ASIA0123456789ABCDEF"):
            client_at(url, key=key).list_tables()
    keys = {headers["Authorization"].split("/")[0] for _, headers, _ in emulator.requests}
    assert keys == {"AWS4-HMAC-SHA256 Credential=local"}


def test_a_refusal_comes_back_as_it_is(emulator):
    emulator.status = 400
    emulator.body = [b'{"__type": "com.amazon#ResourceInUseException", "message": "it exists"}']
    with served_by(emulator.url) as url, pytest.raises(ClientError) as caught:
        client_at(url).list_tables()
    assert caught.value.response["Error"] == {
        "Code": "ResourceInUseException",
        "Message": "it exists",
    }


def test_a_server_that_is_gone_is_an_answer_with_its_address():
    url = nobodys_url()
    with served_by(url) as own, pytest.raises(ClientError) as caught:
        client_at(own).list_tables()
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert error["Error"]["Code"] == "ServiceUnavailable"
    assert f"dynamodb is served from {url}" in error["Error"]["Message"]


def test_it_works_again_when_the_server_is_back(emulator):
    """Kept-alive connections are not reused without a time limit."""
    with served_by(emulator.url) as url:
        client_at(url).list_tables()
        emulator.stop()
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            client_at(url).list_tables()
        emulator.start_again()
        assert client_at(url).list_tables()["TableNames"] == []


def test_a_large_answer_is_whole(emulator):
    names = json.dumps({"TableNames": ["n" * 1000] * 4000}).encode()
    emulator.body = [names[n : n + 100_000] for n in range(0, len(names), 100_000)]
    with served_by(emulator.url) as url:
        assert len(client_at(url).list_tables()["TableNames"]) == 4000


def test_an_answer_without_end_is_cut_at_the_limit(emulator, monkeypatch):
    monkeypatch.setattr(forwarding, "MAX_BODY_BYTES", 1_000_000)
    emulator.body = (b"x" * 100_000 for _ in iter(int, 1))
    with served_by(emulator.url) as url, pytest.raises(ClientError) as caught:
        client_at(url).list_tables()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert "more than 1000000 bytes" in caught.value.response["Error"]["Message"]


def test_an_answer_that_drips_is_cut_at_the_deadline(emulator, monkeypatch):
    monkeypatch.setattr(forwarding, "ANSWER_SECONDS", 0.5)
    pause = threading.Event()
    emulator.body = (b"x" for _ in iter(lambda: pause.wait(0.1), True))
    with served_by(emulator.url) as url, pytest.raises(ClientError) as caught:
        client_at(url).list_tables()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    assert "took more than 0.5 s" in caught.value.response["Error"]["Message"]


def test_a_redirect_is_not_followed(emulator):
    with Emulator() as elsewhere:
        emulator.status, emulator.headers = 307, {"Location": f"{elsewhere.url}/"}
        with served_by(emulator.url) as url:
            assert post(url)[0] == 307
        assert elsewhere.requests == []


def test_no_header_lets_a_web_page_read_the_answer(emulator):
    emulator.headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Credentials": "true",
        "x-amzn-RequestId": "there",
    }
    with served_by(emulator.url) as url:
        status, headers = post(url)
        assert status == 200
        assert headers["x-amzn-RequestId"] == "there"
        assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://page.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example:5000"},
    ],
)
def test_web_pages_and_foreign_hosts_reach_no_other_emulator_either(emulator, headers):
    with served_by(emulator.url) as url:
        assert post(url, headers)[0] == 403
    assert emulator.requests == []


def post(url, headers=()):
    """ListTables by hand; the status and the headers of the answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    given = {"X-Amz-Target": "DynamoDB_20120810.ListTables", **dict(headers)}
    try:
        connection.request("POST", "/", b"{}", given)
        answer = connection.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())
    finally:
        connection.close()


def test_the_check_at_the_start_names_service_and_address(emulator):
    Forwarder(OtherService("sqs", emulator.url), REGION).check()
    url = nobodys_url()
    with pytest.raises(UnreachableServiceError, match=f"sqs is served from {url}: no answer"):
        Forwarder(OtherService("sqs", url), REGION).check()
