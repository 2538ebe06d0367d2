"""`usher dev` as a developer uses it: write an app, open it, change it, break it, mend it."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import ROOT, request, wait_until
from tests.integration.sessions import client_of
from usher.new_session import write_session_app

START_SECONDS = 60


class Dev:
    """One `usher dev`."""

    def __init__(self, folder, runs, *words, **environment):
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "usher", "dev", str(folder), "--runtime", "process"),
                *("--port", "0", "--aws-port", "0", "--page-port", "0", "--feed", "none", *words),
            ],
            cwd=ROOT,
            env=os.environ | {"XDG_RUNTIME_DIR": str(runs)} | environment,
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

    def has_printed(self, text):
        return any(text in line for line in self.said)

    def wait_for(self, text):
        wait_until(lambda: self.has_printed(text), 20, f"{text!r} in {self.said}")

    def deployed(self):
        """Returns the number of deployments so far: the newest revision's number."""
        return max(
            [1, *(int(line.rsplit(":", 1)[1]) for line in self.said if "; deployed " in line)]
        )

    def session(self, query=""):
        status, body = request("GET", f"{self.ready['dispatcher']}/session?wait=25{query}")
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
def start(tmp_path, folder):
    """Starts `usher dev` in the folder, and ends what a test did not."""
    started = []

    def start(**environment):
        started.append(Dev(folder, tmp_path, **environment))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.end()


@pytest.fixture
def dev(start):
    return start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One run for tests that leave the project unchanged."""
    folder = tmp_path_factory.mktemp("shared")
    write_session_app("counter", folder / "app")
    running = Dev(folder / "app", folder)
    yield running
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


MISTAKES = """
import asyncio
import time
from session_handler.app import SessionApp


class Counter(SessionApp):
    async def on_start(self, session):
        self.session = session
        self.kept = []
        await session.send({"welcome": 1})

    async def on_message(self, message):
        await getattr(self, message["do"])()

    async def answer(self):
        await self.session.send({"answer": 1})

    async def leak(self):
        while True:
            self.kept.append(b"x" * 4_000_000)
            await asyncio.sleep(0.02)

    async def block(self):
        time.sleep(1.8)

    async def flood(self):
        while True:
            await self.session.send({"flood": "x" * 60_000})
            self.kept.append(self.session.pending)
            if len(self.kept) % 10 == 0:
                print("most pending", max(self.kept), flush=True)
"""


def mistaken(dev, what):
    """A session whose app raises an error: its answer, and the message that causes it."""
    session = wait_until(lambda: body if (body := dev.session()[1]).get("url") else None, 30)
    return session, json.dumps({"type": "app", "do": what})


def test_a_mistake_ends_its_own_session_only_and_its_author_sees_why(dev):
    (dev.folder / "counter.py").write_text(MISTAKES)
    dev.wait_for("counter.py changed; deployed usher-local-counter:2")
    with client_of(dev.session()[1]) as (neighbour, _):
        neighbour.recv(20)
        session, leak = mistaken(dev, "leak")
        with client_of(session) as (websocket, _):
            websocket.send(leak)
            dev.wait_for("ended: exit code 137; OutOfMemoryError")
        session, block = mistaken(dev, "block")
        with client_of(session) as (websocket, _):
            websocket.send(block)
            dev.wait_for("the session app blocked the event loop")
            websocket.send('{"type":"app","do":"answer"}')
            received = [json.loads(websocket.recv(20)) for _ in range(2)]
            assert received[-1] == {"type": "app", "answer": 1}, "blocking ends no session"
        session, flood = mistaken(dev, "flood")
        with connect(session["url"], max_queue=1, max_size=None) as websocket:
            websocket.send(flood)
            dev.wait_for("the client is too slow")
        most = [int(line.split()[-1]) for line in dev.said if "most pending" in line]
        assert max(most) < 1_000_000, "what is not read waits in the app"
        neighbour.send('{"type":"app","do":"answer"}')
        assert json.loads(neighbour.recv(20)) == {"type": "app", "answer": 1}


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("counter.py", "from typing", "import nosuchpackage\nfrom typing", "nosuchpackage"),
        ("Dockerfile", "counter:Counter", "counter:Other", "has no attribute 'Other'"),
        ("Dockerfile", "counter:Counter", "counter:Any", "not a subclass of session_handler.app"),
        ("Dockerfile", "counter:Counter", "cuonter:Counter", "No module named 'cuonter'"),
        ("Dockerfile", "FROM ${SESSION_IMAGE}\nCOPY", "FORM x\nCOPY", "Dockerfile:"),
    ],
)
def test_an_app_that_cannot_be_made_says_so_to_its_author_and_to_who_asks(
    shared, name, old, new, says
):
    dev, before = shared, shared.deployed()
    dev.said.clear()
    dev.edit(name, old, new)
    dev.wait_for(f"deployed usher-local-counter:{before + 1}")
    status, body = dev.session()
    assert status == 503
    assert says in json.dumps(body)
    dev.wait_for(says)
    if name == "counter.py":
        dev.wait_for('counter.py", line ')  # of the traceback
    dev.edit(name, new, old)
    dev.wait_for(f"deployed usher-local-counter:{before + 2}")
    assert wait_until(lambda: dev.session()[1].get("revision") == before + 2, 30)


REMEMBERS = """
from session_handler.app import SessionApp


class Counter(SessionApp):
    async def on_start(self, session):
        self.session = session
        self.want, self.messages = None, 0
        await session.send({"welcome": 1})

    async def on_message(self, message):
        self.messages += 1
        self.want = message.get("want", self.want)
        await self.session.send({"want": self.want, "messages": self.messages})
"""


def test_ten_open_sessions_keep_their_code_and_state_when_a_file_changes(start, folder):
    (folder / "counter.py").write_text(REMEMBERS)
    dev = start()
    with ExitStack() as stack:
        old = []
        for number in range(10):
            status, session = dev.session()
            assert status == 200, session
            websocket, _ = stack.enter_context(client_of(session))
            assert "welcome" in json.loads(websocket.recv(20))
            websocket.send(json.dumps({"type": "app", "want": f"of {number}"}))
            assert json.loads(websocket.recv(20))["want"] == f"of {number}"
            old.append((websocket, number))
        dev.edit("counter.py", '"welcome"', '"hello again"')
        dev.wait_for("deployed usher-local-counter:2")
        status, new = dev.session()
        assert status == 200
        assert "hello again" in first_message(new)
        for websocket, number in old:
            websocket.send('{"type":"app","count":true}')
            told = json.loads(websocket.recv(20))
            assert told == {"type": "app", "want": f"of {number}", "messages": 2}


def test_secrets_come_from_the_environment_of_usher_dev(folder, start):
    with (folder / "apps.toml").open("a") as file:
        file.write('[apps.counter.secrets]\nTOKEN = "/usher/dev/token"\n')
    command = [sys.executable, "-m", "usher", "dev", str(folder)]
    without = {name: value for name, value in os.environ.items() if name != "TOKEN"}
    done = subprocess.run(
        command, cwd=ROOT, env=without, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "set TOKEN" in done.stderr) == (2, True), done.stderr
    code = (folder / "counter.py").read_text()
    code = code.replace("session.session_id", 'os.environ["TOKEN"]').replace(
        "from typing", "import os\nfrom typing"
    )
    (folder / "counter.py").write_text(code)
    running = start(TOKEN="of this machine")
    assert first_message(running.session()[1]) == {"type": "app", "welcome": "of this machine"}
    assert not running.has_printed("of this machine")


def test_the_page_is_served_to_this_machine_only(shared):
    dev = shared
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


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--no-such-option", 2)])
def test_its_usage_has_the_name_that_was_called(option, code):
    done = subprocess.run(
        [sys.executable, "-m", "usher", "dev", option],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code
    assert said.startswith("usage: usher dev [-h]")
    assert "--page-port" in said
    assert "python -m local" not in said
