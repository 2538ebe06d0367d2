"""Credentials: from the environment, or from ECS's endpoint for as long as they are good."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chalicelib.contract.sigv4 import Credentials
from session_handler.credentials import (
    CredentialCache,
    CredentialsError,
    CredentialSource,
    parse_answer,
)

ANSWER = {"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T"}


def test_static_keys_win():
    source = CredentialSource.parse(
        {
            "AWS_ACCESS_KEY_ID": "A",
            "AWS_SECRET_ACCESS_KEY": "S",
            "AWS_SESSION_TOKEN": "T",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/x",
        }
    )
    assert source.static == Credentials("A", "S", "T")


def test_the_relative_uri_is_the_ecs_agents():
    source = CredentialSource.parse({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"})
    assert source.url == "http://169.254.170.2/v2/credentials/x"


def test_no_source_gives_no_credentials():
    cache = CredentialCache(CredentialSource.parse({}), lambda: 0.0)
    assert asyncio.run(cache.get()) is None


def test_answers_are_read():
    body = json.dumps({**ANSWER, "Expiration": "2026-01-01T00:00:00Z"}).encode()
    assert parse_answer(body) == Credentials("A", "S", "T", 1_767_225_600.0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"AccessKeyId":"A"}', b"null"])
def test_other_answers_are_errors(body):
    with pytest.raises(CredentialsError):
        parse_answer(body)


class Endpoint:
    """ECS's credentials endpoint: `lifetimes` are the ends of the credentials given in turn."""

    def __init__(self, *expirations):
        self.expirations = list(expirations)
        self.tokens = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.tokens.append(self.headers["Authorization"])
                if not outer.expirations:
                    self.send_error(503)
                    return
                body = json.dumps({**ANSWER, "Expiration": outer.expirations.pop(0)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v2/credentials/x"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def test_they_are_renewed_before_they_end_and_kept_while_they_last(tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    with Endpoint("1970-01-01T01:00:00Z", "1970-01-01T02:00:00Z") as endpoint:
        clock = [0.0]
        cache = CredentialCache(
            CredentialSource(url=endpoint.url, authorization_file=str(token_file)),
            lambda: clock[0],
        )

        async def run():
            assert await cache.get() == await cache.get()
            assert len(endpoint.tokens) == 1
            clock[0] = 3_400.0
            renewed = await asyncio.gather(*(cache.get() for _ in range(5)))
            assert {c.expires_at for c in renewed} == {7_200.0}
            assert endpoint.tokens == ["secret", "secret"]
            clock[0] = 7_000.0
            assert (await cache.get()).expires_at == 7_200.0, "the old ones are still good"
            clock[0] = 7_200.0
            with pytest.raises(CredentialsError):
                await cache.get()

        asyncio.run(run())


def test_refused_credentials_are_fetched_anew():
    with Endpoint("2999-01-01T00:00:00Z", "2999-01-02T00:00:00Z") as endpoint:
        cache = CredentialCache(CredentialSource(url=endpoint.url), lambda: 0.0)

        async def run():
            first = await cache.get()
            cache.forget()
            assert await cache.get() != first

        asyncio.run(run())
