"""The requests of a pull from ECR, with a fake server for the agent and ECR."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from usher.grading.registry import RegistryError, pull_headers

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/usher-dev/graders@sha256:" + "0" * 64
KEYS = {"AccessKeyId": "ASIA1", "SecretAccessKey": "secret", "Token": "session"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, KEYS)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append({k.lower(): v for k, v in self.headers.items()})
        token = base64.b64encode(b"AWS:password").decode()
        answer = {"authorizationData": [{"authorizationToken": token}]}
        self.answer(self.server.status, answer)

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def agent(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.seen, server.status = [], 200
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", raising=False)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/v2/credentials/1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", url)
        yield server
        server.shutdown()
        thread.join()


def test_a_pull_from_ecr_is_sent_with_a_token_that_the_role_was_given(agent):
    headers = pull_headers(IMAGE)
    given = json.loads(base64.urlsafe_b64decode(headers["X-Registry-Auth"]))
    assert given == {
        "username": "AWS",
        "password": "password",
        "serveraddress": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    }
    (asked,) = agent.seen
    assert asked["x-amz-target"].endswith(".GetAuthorizationToken")
    assert "Credential=ASIA1/" in asked["authorization"]
    assert "/eu-west-1/ecr/aws4_request" in asked["authorization"]


@pytest.mark.parametrize(
    "image", ["gcc:14", "ecr.example/graders:1", "1.dkr.ecr.eu-west-1.amazonaws.com.evil.org/a:1"]
)
def test_no_other_registry_is_given_a_token(agent, image):
    assert pull_headers(image) == {}
    assert agent.seen == []


def test_without_a_role_there_is_none(agent, monkeypatch):
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert pull_headers(IMAGE) == {}


def test_a_refusal_says_the_registry_and_no_key(agent):
    agent.status = 400
    with pytest.raises(RegistryError, match="HTTP 400") as caught:
        pull_headers(IMAGE)
    assert "secret" not in str(caught.value)
