"""docs/session-apps-other-languages.md: its code is that of the tested container, and runs."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.integration.conftest import ROOT
from tests.integration.sessions import client_of, dispatch, wait_for
from tests.integration.test_usher_dev import Dev
from tests.needs import needs_node

PAGE = (ROOT / "docs" / "session-apps-other-languages.md").read_text(encoding="utf-8")
NODE = ROOT / "tests" / "containers" / "node"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "Dockerfile").write_text(blocks("dockerfile")[0])
    (folder / "apps.toml").write_text(blocks("toml")[0])
    shutil.copy(NODE / "server.js", folder)
    return folder


def test_all_code_of_the_page_is_of_the_container():
    code = (NODE / "server.js").read_text(encoding="utf-8")
    shown = blocks("js")
    assert len(shown) >= 8
    assert [block for block in shown if block.strip("\n") not in code] == []
    dockerfile = (NODE / "Dockerfile").read_text(encoding="utf-8")
    assert blocks("dockerfile")[0] == "".join(
        line for line in dockerfile.splitlines(keepends=True) if not line.startswith("#")
    )


def check(session):
    with client_of(session) as (websocket, hello):
        assert hello["app"] == "echo"
        websocket.send('{"type":"app","say":"hi"}')
        assert json.loads(websocket.recv(20)) == {"type": "app", "say": "hi", "echo": True}
        websocket.send('{"type":"app","who":true}')
        user = {"owner": "ip:127.0.0.1", "claims": {}, "query": {"room": "blue"}}
        assert json.loads(websocket.recv(20)) == {"type": "app", "user": user}


@needs_node
def test_the_page_leads_to_a_container_under_usher_dev(folder, tmp_path):
    dev = Dev(folder, tmp_path)
    try:
        status, session = dev.session("&room=blue")
        assert status == 200, session
        check(session)
    finally:
        dev.end()


@needs_node
def test_it_is_deployed_as_apps_in_python_are(folder, tmp_path, start_cloud):
    cloud = start_cloud(feed="none")
    done = subprocess.run(
        [sys.executable, "-m", "usher", "deploy"],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "USHER_URL": cloud.ready["dispatcher"],
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    session = dispatch(cloud, "?app=echo&room=blue&wait=25")
    check(session)
    assert wait_for(cloud, session["id"], "ENDED")["reason"] == "disconnected"
