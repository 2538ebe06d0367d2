"""A job, or a caller, writes control sequences to the terminal of a user who reads its log.

Attacker: the author of a job, or of untrusted code in it; a caller with a key. Goal: hide its
actions, forge lines of `usher`, or make the operator's terminal send input. Reach: lines of the
log, messages of progress, reasons, results, and names in audit records.
"""

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.integration.test_usher_client import ID, FakeApi, invocation
from tests.integration.usher_fake import ROOT, environment, serve

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b2J\r\u202eusher: echo succeeded\x7f"
FORGED = f"{EVIL}\nusher: echo succeeded"
RUN = invocation(
    "FINISHED",
    reason="failed",
    detail=FORGED,
    finishedAt="2026-01-31T09:00:05.000Z",
    progress={"fraction": 0.5, "message": FORGED, "at": "2026-01-31T09:00:00.000Z"},
    result={"text": FORGED},
    history=[{"at": "2026-01-31T09:00:00.000Z", "state": "FINISHED", "cause": FORGED}],
)
RECORD = {
    "at": "2027-01-15T08:00:00.000Z", "who": "api_key:ann", "address": "192.0.2.7",
    "action": "refused", "resource": f"DELETE /jobs/{FORGED}", "outcome": "refused",
}  # fmt: skip


@pytest.fixture
def api():
    fake = FakeApi()
    log = [{"at": "2026-01-31T09:00:00.000Z", "text": EVIL}]
    fake.on(f"GET /invocations/{ID}", (200, RUN))
    fake.on(f"GET /invocations/{ID}/logs", (200, {"lines": log, "next": None, "ended": True}))
    fake.on("GET /invocations?limit=20", (200, {"invocations": [RUN], "next": None}))
    fake.on("GET /audit?limit=50", (200, {"records": [RECORD], "next": None}))
    with serve(fake):
        yield fake


def on_terminal(api, *words):
    """Returns the output of `usher`, whose stdout and stderr are a terminal."""
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "usher", *words, "--url", api.url]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=follower, stderr=follower
        )
        os.close(follower)
        written = b""
        try:
            while data := screen.read(65_536):
                written += data
        except OSError:
            pass  # Linux reports EIO when the last writer of a terminal is closed
        process.wait(30)
    return written.decode("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize(
    "words",
    [("logs", ID), ("show", ID), ("show", ID, "--json"), ("invocations",), ("wait", ID), ("audit",),
     ("invocations", "--json"), ("audit", "--json")],
    ids=" ".join,
)  # fmt: skip
def test_no_control_character_reaches_a_terminal(api, words):
    written = on_terminal(api, *words)
    assert "owned" in written
    assert [c for c in written if not c.isprintable() and c not in "\n\t"] == []
    assert [x for x in written.splitlines() if x.startswith("usher: echo succeeded")] == []


def test_json_on_a_terminal_stays_what_it_was(api):
    assert json.loads(on_terminal(api, "show", ID, "--json"))["result"] == {"text": FORGED}


def test_a_file_gets_the_lines_of_the_log_as_they_are(api):
    command = [sys.executable, "-m", "usher", "logs", ID, "--url", api.url]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=True)
    assert done.stdout.decode() == EVIL + "\n"
