"""docs/session-apps.md followed word by word, in both runtimes."""

import os
import re
import shlex
import subprocess
import sys
import time

import pytest

from tests.integration.conftest import ROOT
from tests.integration.sessions import client_of
from tests.integration.test_usher_dev import Dev
from tests.needs import needs_docker
from usher.new_session import write_session_app

GUIDE = (ROOT / "docs" / "session-apps.md").read_text(encoding="utf-8")
COMMANDS = re.search(r"```sh\n(.*?)```", GUIDE, re.DOTALL)[1].splitlines()


def words(line):
    first, *rest = shlex.split(line)
    program = {"usher": [sys.executable, "-m", "usher"], "python": [sys.executable]}[first]
    return [*program, *rest]


@pytest.mark.parametrize("runtime", ["process", needs_docker.parameter("docker", id="docker")])
def test_the_guide_leads_to_an_app_that_serves(tmp_path, runtime):
    folder, began = tmp_path, time.monotonic()
    of_this_run = {name for name in os.environ if name.startswith("PYTEST_")}
    environment = {n: v for n, v in os.environ.items() if n not in of_this_run}
    environment["PYTHONPATH"] = str(ROOT)
    *before, last = COMMANDS
    assert last == "usher dev"
    for line in before:
        if line.startswith("cd "):
            folder = folder / line.removeprefix("cd ")
        else:
            subprocess.run(words(line), cwd=folder, env=environment, check=True, timeout=120)
    dev = Dev(folder, tmp_path, "--runtime", runtime)
    status, session = dev.session()
    assert status == 200, session
    with client_of(session) as (websocket, hello):
        assert hello["session"] in websocket.recv(20)
    print(f"the guide, {runtime}: {time.monotonic() - began:.0f} s to an app that serves")
    dev.end()


def test_every_file_that_the_guide_lists_is_written(tmp_path):
    table = GUIDE.partition("writes a session app that works:")[2].partition("\n\n`usher dev`")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    write_session_app("counter", tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files - names == {"conftest.py"}
    assert names <= files
