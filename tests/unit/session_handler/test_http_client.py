"""The HTTP client, against servers that do what servers do: keep, close, chunk, stall and lie."""

import asyncio

import pytest

from session_handler.http_client import HttpClient, HttpError, TooLargeError, parse_head


def exchange(answers, requests=1, timeout_seconds=5.0, method="GET"):
    """Serve each request with the next of `answers` (bytes; None closes the connection without).

    Returns the responses or errors, the requests as they came, and the number of connections.
    """
    pending = list(answers)
    came, connections = [], []

    async def serve(reader, writer):
        connections.append(writer)
        try:
            while pending:
                came.append(await reader.readuntil(b"\r\n\r\n"))
                answer = pending.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"Connection: close" in answer or b"until the end" in answer:
                    break
            else:
                await reader.read()
        except (OSError, EOFError):
            return
        finally:
            writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = HttpClient(f"http://127.0.0.1:{port}/base?x=1", timeout_seconds=timeout_seconds)
        results = []
        for _ in range(requests):
            try:
                results.append(await client.request(method, client.path, {"X-A": "b"}))
            except HttpError as error:
                results.append(error)
        client.close()
        server.close()
        return results

    return asyncio.run(run()), came, len(connections)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_connection_is_kept():
    responses, came, connections = exchange([OK, OK, OK], requests=3)
    assert [(r.status, r.body) for r in responses] == [(200, b"ok")] * 3
    assert connections == 1
    assert came[0].startswith(b"GET /base?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-A: b\r\n" in came[0]


def test_a_closed_connection_is_not_used_again():
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    responses, _, connections = exchange([closing, OK], requests=2)
    assert [r.status for r in responses] == [200, 200]
    assert connections == 2


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced():
    responses, _, connections = exchange([OK, None, OK], requests=2)
    assert [r.status for r in responses] == [200, 200]
    assert connections == 2


def test_a_new_connection_that_closes_is_an_error():
    (error,), _, connections = exchange([None])
    assert isinstance(error, HttpError)
    assert connections == 1


def test_chunks_trailers_and_informational_answers():
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    )
    responses, _, connections = exchange([answer, OK], requests=2)
    assert [r.body for r in responses] == [b"hello world", b"ok"]
    assert connections == 1


def test_a_body_until_the_end():
    (response,), _, _ = exchange([b"HTTP/1.1 200 OK\r\n\r\nuntil the end"])
    assert response.body == b"until the end"


def test_answers_without_a_body():
    (response,), _, _ = exchange([b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert response.body == b""
    head_only = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    (response,), _, _ = exchange([head_only], method="HEAD")
    assert response.headers["content-length"] == "99"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-server\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nshort",
    ],
)
def test_nonsense_is_an_error(answer):
    (error,), _, _ = exchange([answer])
    assert isinstance(error, HttpError)


def test_an_endless_body_is_refused():
    (error,), _, _ = exchange([b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"])
    assert isinstance(error, TooLargeError)


def test_silence_is_an_error_in_time():
    (error,), _, _ = exchange([b""], timeout_seconds=0.2)
    assert "0.2" in str(error)


def test_nobody_there_is_an_error():
    async def run():
        await HttpClient("http://127.0.0.1:1/", timeout_seconds=5).request("GET", "/", {})

    with pytest.raises(HttpError):
        asyncio.run(run())


def test_the_host_header_names_the_port_where_it_is_unusual():
    def host_of(url):
        return HttpClient(url, timeout_seconds=1).host_header

    assert host_of("https://kinesis.eu-north-1.amazonaws.com") == "kinesis.eu-north-1.amazonaws.com"
    assert host_of("http://host:8000/x") == "host:8000"
    assert host_of("http://[::1]:80/") == "[::1]"


def test_only_http_1_1_connections_are_kept():
    assert parse_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n") == (200, {"a": "b"}, True)
    assert parse_head(b"HTTP/1.0 200 OK\r\n\r\n") == (200, {}, False)
