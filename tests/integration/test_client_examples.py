"""The examples of clients/js/README.md and docs/clients.md run as they stand, on containers."""

import os
import re
import subprocess
import threading
from contextlib import contextmanager

import pytest

import usher
from infra import packages
from tests import emulators
from tests.drops import Dispatcher
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_node, needs_ws
from tests.session_process import ROOT, until

JS_README = "clients/js/README.md"
GUIDE = "docs/clients.md"
PRELUDE = """
const say = (what) => console.log(JSON.stringify(what));
const own = {
  key: "secret", localStorage: {}, status: (...said) => say({ status: said }), warn: say,
  show: (shown) => say({ shown }),
};
for (const [name, value] of Object.entries(own)) Object.defineProperty(globalThis, name, { value });
const ask = globalThis.fetch;
globalThis.fetch = (url, options) =>
  ask(String(url).replace(/^https?:[/][/][^?]*/, process.env.AT), options);
"""
"""The environment of an example's program; requests to any dispatcher go to the test's."""
RECORD = {"n": 1, "suburb": "Fernbank"}


def blocks(file, language):
    text = (ROOT / file).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


JS = [
    *((JS_README, number) for number in range(len(blocks(JS_README, "js")))),
    *((GUIDE, number) for number in range(len(blocks(GUIDE, "js")))),
]


def test_both_texts_have_the_examples_that_are_run_here():
    assert len(blocks(JS_README, "js")) == 3
    assert len(blocks(GUIDE, "js")) == 1
    assert len(blocks(GUIDE, "python")) == 2


@contextmanager
def dispatching():
    """A dispatcher of real containers whose feed has a new record every 50 ms."""
    stopped = threading.Event()
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:

        def put():
            while not stopped.wait(0.05):
                kinesis.put(RECORD, "key")

        answer = world.answer
        # Every app that an example requests has the same containers here.
        world.answer = lambda path, headers: answer("/session?app=listings", headers)
        feeding = threading.Thread(target=put)
        feeding.start()
        try:
            yield world
        finally:
            stopped.set()
            feeding.join()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with the packages of the examples, as if npm had installed them."""
    folder = tmp_path_factory.mktemp("examples")
    packages.lay_out_js(folder / "node_modules" / "usher-client")
    (folder / "node_modules" / "ws").symlink_to(emulators.FOLDER / "node_modules" / "ws")
    (folder / "prelude.mjs").write_text(PRELUDE)
    return folder


@needs_node
@needs_ws
@pytest.mark.parametrize(("file", "number"), JS)
def test_an_example_in_javascript_gets_what_its_container_sends(project, file, number):
    example = blocks(file, "js")[number]
    (project / "example.mjs").write_text(example)
    listing = subprocess.run(["node", "--help"], capture_output=True, text=True, check=True)
    flags = ["--experimental-websocket"] * ("--experimental-websocket" in listing.stdout)
    with dispatching() as world:
        process = subprocess.Popen(
            ["node", *flags, "--no-warnings", "--import", "./prelude.mjs", "example.mjs"],
            cwd=project,
            env={"PATH": os.environ["PATH"], "AT": world.url.partition("?")[0]},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            if "onRecords" in example:
                assert any(
                    "Fernbank" in line or line.startswith("{ n: 1") for line in process.stdout
                )
            else:
                until(
                    lambda: world.sessions and world.sessions[0].health()[1]["connected"],
                    "a connection",
                )
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class EnoughError(Exception):
    """Stops an example that follows its feed without end."""


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_in_python_gets_what_its_container_sends(monkeypatch, number):
    got = []

    def take(data, *cursor):
        if data:  # a cursor advances without records too
            got.append((data, *cursor))
            raise EnoughError

    around = {"usher": usher, "print": take, "store": take, "load": lambda: None}
    with dispatching() as world:
        dispatcher = world.url.partition("/session")[0]
        monkeypatch.setenv("USHER_URL", dispatcher)
        code = blocks(GUIDE, "python")[number].replace("http://127.0.0.1:8000", dispatcher)
        with pytest.raises(EnoughError):
            exec(code, around)
    ((first, *cursor),) = got
    assert (first if number == 0 else first[0].data) == RECORD
    assert bool(cursor) is bool(number)
