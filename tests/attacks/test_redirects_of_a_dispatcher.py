"""A server in the dispatcher's place redirects a caller to another server.

Goal: the API key, which every request of the client carries. Reach: a redirect.
"""

import pytest

from tests.integration.usher_fake import Call, serve
from usher.errors import AnswerError
from usher.transport import Patience, Transport


class Server:
    """Answers with redirects to `target`, or with an object."""

    def __init__(self, status: int = 200, target: str | None = None) -> None:
        self.status, self.target, self.url = status, target, ""
        self.calls: list[Call] = []

    def respond(self, call: Call):
        self.calls.append(call)
        if self.target is None or call.path == "/there":
            return 200, {"path": call.path}
        return self.status, {}, {"Location": self.target}


STATUSES = (301, 302, 303, 307, 308)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_the_key_goes_to_no_other_origin(status, method):
    thief = Server()
    with serve(thief):
        server = Server(status, f"{thief.url}/there")
        with serve(server), pytest.raises(AnswerError, match=f"HTTP {status}"):
            Transport(server.url, "the-key", Patience(3, 5)).call(method, "/jobs")
    assert thief.calls == []
    assert len(server.calls) == 1


@pytest.mark.parametrize("target", ["http://localhost:{port}/there", "//localhost:{port}/there",
                                    "https://127.0.0.1:{port}/there"])  # fmt: skip
def test_another_name_of_the_same_machine_is_another_origin(target):
    server = Server(302)
    with serve(server):
        server.target = target.format(port=server.url.rpartition(":")[2])
        with pytest.raises(AnswerError):
            Transport(server.url, "the-key", Patience(1, 5)).call("GET", "/jobs")
    assert [call.path for call in server.calls] == ["/jobs"]


def test_a_legitimate_redirect_within_the_dispatcher_is_followed():
    server = Server(302, "/there")
    with serve(server):
        assert Transport(server.url, "the-key", Patience(1, 5)).call("GET", "/jobs") == {
            "path": "/there"
        }


def test_what_changes_something_is_never_sent_on_as_a_get():
    server = Server(302, "/there")
    with serve(server), pytest.raises(AnswerError):
        Transport(server.url, "the-key", Patience(1, 5)).call("POST", "/jobs", {})
    assert [call.method for call in server.calls] == ["POST"]
