"""Each command that asks a dispatcher, against one that refuses, as a process of its own would."""

import json
import sys

import pytest

from tests.integration.test_usher_client import FakeApi, api
from tests.integration.usher_fake import ROOT
from usher.cli.exit_codes import EXIT_CODES
from usher.cli.main import main

__all__ = ["api"]  # the fixture

GRADER = str(ROOT / "examples" / "graders" / "anagrams")
WORDS = {
    "deploy": ["--project", str(ROOT / "examples" / "jobs")],
    "apps": [],
    "rollback": ["listings"],
    "sessions": [],
    "hosts": [],
    "capacity": [],
    "open": ["nothing"],
    "explain": ["nothing"],
    "top": ["--once"],
    "tail": ["listings"],
    "invoke": ["echo"],
    "wait": ["nothing"],
    "show": ["nothing"],
    "invocations": [],
    "kill": ["nothing"],
    "rerun": ["nothing"],
    "logs": ["nothing"],
    "audit": [],
    "schedule put": ["weekly", "echo", "rate(1 day)"],
    **{f"schedule {verb}": ["weekly"] for verb in ("show", "pause", "resume", "run", "delete")},
    "schedule list": [],
    "assignment put": [GRADER],
    "assignment list": [],
    **{f"assignment {verb}": ["anagrams"] for verb in ("show", "prepare", "regrade", "remove")},
    "submit": ["anagrams", f"anagrams={ROOT / 'README.md'}"],
}
NO_DISPATCHER = {"new", "list", "describe", "run", "dev", "grade", "grader check", "completion"}


@pytest.fixture(autouse=True)
def jobs_are_forgotten(monkeypatch):
    """Modules of the project that `deploy` imports into this process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = sys.modules.copy()
    yield
    for name in sys.modules.keys() - before.keys():
        if name.partition(".")[0] == "jobs":
            del sys.modules[name]


def test_each_command_that_asks_a_dispatcher_is_tried():
    assert WORDS.keys() == EXIT_CODES.keys() - NO_DISPATCHER


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_refusal_is_exit_code_1_and_a_line_on_stderr(api: FakeApi, name, form, capsys):
    assert main([*name.split(), *WORDS[name], *form]) == 1
    said = capsys.readouterr()
    assert said.out == "", "a program that reads stdout must not take it for an answer"
    assert said.err.splitlines()[-1].startswith("usher: ")
    assert "Traceback" not in said.err


def test_deployments_and_removals_for_programs(api: FakeApi, capsys):
    job = {"name": "market_report", "revision": 4}
    api.on("PUT /jobs/market_report", (200, job))
    deploy = ["deploy", "market_report", *WORDS["deploy"], "--json"]
    assert main(deploy) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"registered": [job]}
    assert "registered market_report, revision 4" in said.err
    assert main([*deploy, "--dry-run"]) == 0
    (line,) = json.loads(capsys.readouterr().out)["plan"]
    assert line.startswith(f"PUT {api.url}/jobs/market_report with the image dir:")
    api.on("DELETE /apps/listings", (200, {}))
    assert main(["apps", "--remove", "listings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "listings", "removed": True}


def test_a_rollback_for_programs_waits_for_proof_too(api: FakeApi, capsys):
    app = {"name": "listings", "revision": 2, "state": "proven", "pool": 1}
    before = {**app, "revision": 1}
    refused = {**before, "state": "refused", "reason": "exit code 3"}
    api.on("POST /apps/listings/rollback", (200, before))
    for settled, code in ((before, 0), (refused, 1)):
        api.on("GET /apps/listings", (200, app), (200, settled))
        assert main(["rollback", "listings", "--json"]) == code
        said = capsys.readouterr()
        assert json.loads(said.out) == settled
        assert "took back listings, revision 2; the newest is 1" in said.err
