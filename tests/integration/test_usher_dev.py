"""`usher dev` as a developer uses it: write an app, open it, change it, break it, mend it."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.integration.conftest import ROOT, request, wait_until
from tests.integration.sessions import client_of
from usher.new_session import write_session_app

START_SECONDS = 60


class Dev:
    """One `usher dev`."""

    def __init__(self, folder, runs, *words):
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "usher", "dev", str(folder), "--runtime", "process"),
                *("--port", "0", "--aws-port", "0", "--page-port", "0", "--feed", "none", *words),
            ],
            cwd=ROOT,
            env=os.environ | {"XDG_RUNTIME_DIR": str(runs)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = []
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()
        line = self.process.stdout.readline()
        assert line.startswith("READY "), "".join(self.said)
        self.ready = json.loads(line.removeprefix("READY "))
        opened = wait_until(lambda: [x for x in self.said if "open http" in x and "it is" in x], 10)
        self.page = opened[0].split("open ")[1].split(" ")[0]

    def says(self, text):
        return any(text in line for line in self.said)

    def wait_for(self, text):
        wait_until(lambda: self.says(text), 20, f"{text!r} in {self.said}")

    def session(self):
        status, body = request("GET", f"{self.ready['dispatcher']}/session?wait=25")
        return status, body

    def edit(self, name, old, new):
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0
        self.process.stdout.close()


@pytest.fixture
def folder(tmp_path):
    write_session_app("counter", tmp_path / "app")
    return tmp_path / "app"


@pytest.fixture
def dev(tmp_path, folder):
    running = Dev(folder, tmp_path)
    yield running
    if running.process.poll() is None:
        running.end()


def first_message(session):
    with client_of(session) as (websocket, _):
        return json.loads(websocket.recv(20))


def test_a_change_is_in_the_next_session_and_open_ones_keep_theirs(dev):
    status, old = dev.session()
    assert status == 200, old
    with client_of(old) as (websocket, hello):
        assert json.loads(websocket.recv(20)) == {"type": "app", "welcome": hello["session"]}
        dev.edit("counter.py", '"welcome"', '"hello again"')
        dev.wait_for("counter.py changed; deployed usher-local-counter:2")
        status, new = dev.session()
        assert status == 200, new
        assert "hello again" in first_message(new)
        websocket.send('{"type":"app","want":"x"}')
        assert json.loads(websocket.recv(20)) == {"type": "app", "want": "x", "seen": 0}
    dev.end()


def test_mistakes_are_explained_where_they_are(dev):
    dev.edit("counter.py", "self._seen = 0", "self._seen = ")
    dev.wait_for("not deployed: counter.py:16: ")
    dev.edit("counter.py", "self._seen = ", "self._seen = 1 / 0")
    dev.wait_for("deployed usher-local-counter:2")
    status, body = dev.session()
    assert status != 200
    assert "ZeroDivisionError: division by zero" in json.dumps(body)
    dev.edit("counter.py", "self._seen = 1 / 0", "self._seen = 0; print('made', flush=True)")
    dev.wait_for("deployed usher-local-counter:3")
    dev.edit("counter.py", 'want = message.get("want")', 'want = message["missing"]')
    dev.wait_for("deployed usher-local-counter:4")
    session = wait_until(lambda: body if (body := dev.session()[1]).get("url") else None, 30)
    with client_of(session) as (websocket, _):
        websocket.recv(20)
        websocket.send('{"type":"app"}')
        bye = json.loads(websocket.recv(20))
        assert (bye["type"], bye["reason"]) == ("bye", "app_failed")
    dev.wait_for("] made")
    dev.wait_for("error: the session app failed")
    dev.wait_for("KeyError: 'missing'")
    dev.edit("apps.toml", "cpu = 128", 'cpu = "much"')
    dev.wait_for("apps.counter.cpu: must be")
    dev.edit("apps.toml", 'cpu = "much"', "cpu = 256")
    dev.wait_for("apps.toml changed; deployed usher-local-counter:5")


def test_the_page_is_served_to_this_machine_only(dev):
    status, page = request("GET", dev.page)
    assert (status, "<h1>Counter</h1>" in page) == (200, True)
    status, script = request("GET", f"{dev.page}usher.js")
    assert status == 200
    assert f'dispatcher = "{dev.ready["dispatcher"]}"' in script
    (dev.folder / "page" / "link").symlink_to("/etc/passwd")
    for path in ("../counter.py", "..%2fcounter.py", "/etc/passwd", "link", "%00", "missing"):
        assert request("GET", f"{dev.page}{path}")[0] == 404, path
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert request("GET", dev.page, headers=headers)[0] == 403
    assert request("POST", dev.page, {})[0] == 405


@pytest.mark.parametrize(
    ("missing", "says"),
    [("apps.toml", "has no apps.toml"), ("Dockerfile", "has no Dockerfile, and counter needs one")],
)
def test_a_folder_that_cannot_be_run_is_refused(folder, missing, says):
    (folder / missing).unlink()
    done = subprocess.run(
        [sys.executable, "-m", "usher", "dev", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_has_help():
    done = subprocess.run(
        [sys.executable, "-m", "usher", "dev", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "--page-port" in done.stdout
