"""The npm package that `make package` builds: installed from its file, on real containers."""

import json
import subprocess

import pytest

from infra import packages
from tests import emulators
from tests.drops import KILLS, Dispatcher, dropping
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_node, needs_npm, needs_redis, needs_typescript, needs_ws
from tests.node_follower import Follower
from tests.redis_feed import RedisProcess
from tests.session_process import ROOT, until

DROPS = 1000
NPM = ["--offline", "--no-audit", "--no-fund", "--loglevel=error"]
WS = emulators.FOLDER / "node_modules" / "ws" / "wrapper.mjs"
TSC = emulators.FOLDER / "node_modules" / "typescript" / "bin" / "tsc"

DISPATCHING = """
import { dispatch } from "usher-client";
const [, , url, options] = process.argv;
const states = [];
try {
  const session = await dispatch(url, {
    ...JSON.parse(options),
    onState: ({ phase, seconds, error }) => states.push([phase, seconds, error?.status ?? null]),
  });
  console.log(JSON.stringify({ session, states }));
} catch ({ name, status, code, id, message }) {
  console.log(JSON.stringify({ error: { name, status, code, id, message }, states }));
}
"""
CLOCK_SET_BACK = """
import { follow } from "usher-client";

let skew = 0;
const now = Date.now;
Date.now = () => now() + skew;
const tried = [];
// The first connection is dropped, then the clock is set six hours back; no other connection opens.
class WebSocket {
  constructor(url) {
    tried.push(url);
    if (tried.length === 2) skew = -6 * 3600e3;
    setTimeout(tried.length === 1 ? () => this.dropped() : () => this.onclose({}), 0);
  }
  dropped() {
    this.onopen();
    this.onmessage({ data: '{"type": "hello", "graceSeconds": 0.1}' });
    this.onclose({});
  }
}
globalThis.fetch = async () => {
  console.log("asked after", tried.length, "connections");
  process.exit();
};
const following = follow("http://x/session", { session: { url: "ws://x/1" }, WebSocket });
const again = setInterval(() => following.retry(), 10);
setTimeout(() => {
  console.log("still tries the container that is gone");
  process.exit();
}, 5000);
"""
GIVEN_UP = """
import { dispatch } from "DISPATCH";
const calls = [];
const leaving = new AbortController();
globalThis.fetch = async (place, { method = "GET" }) => {
  calls.push(`${method} ${new URL(place).pathname}`);
  const id = process.argv[2] === "comes" && calls.length > 1 ? "url" : "id";
  return new Response(JSON.stringify({ id: "the-id", [id]: "the-id", retryAfter: 0.01 }));
};
const onState = () => process.argv[2] === "leaves" && calls.length > 2 && leaving.abort();
const key = process.argv[3];
try {
  await dispatch("http://x/session", { signal: leaving.signal, onState, key });
  leaving.abort();
} catch ({ name }) {
  calls.push(name);
}
setTimeout(() => console.log(JSON.stringify(calls)), 50);
"""
TYPED = """
import { connect, dispatch, DispatchError, follow, version, type Session } from "usher-client";

interface Listing { n: number }
const session: Session = await dispatch("http://x/session", { headers: async () => ({ a: "b" }) });
const connection = connect<Listing>(session.url, {
  onRecords: (records, cursor) => console.log(records[0].data.n.toFixed(), cursor.length),
  onClose: ({ bye }) => console.log(bye?.reason),
});
const following = follow<Listing>("http://x/session", {
  session, again: ["stopped"], onState: ({ phase }) => console.log(phase === "live"),
});
console.log(version, connection.send({ a: 1 }), following.retry(), new DispatchError("no").code);
// @ts-expect-error: an unknown phase
console.log(following.phase === "asleep");
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A fresh npm project with the packed package installed from its file."""
    target, folder = tmp_path_factory.mktemp("packed"), tmp_path_factory.mktemp("project")
    tarball = packages.build_js(target, "npm")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    subprocess.run(["npm", "install", *NPM, str(tarball)], cwd=folder, check=True)
    (folder / "entry.mjs").write_text('export * from "usher-client";')
    (folder / "dispatching.mjs").write_text(DISPATCHING)
    return folder


def dispatched(project, dispatcher, **options):
    words = ["node", "dispatching.mjs", dispatcher.url, json.dumps(options)]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_npm
def test_the_npm_package_has_the_client_that_containers_serve(project):
    installed = project / "node_modules" / "usher-client"
    served = (ROOT / "session_handler" / "client.js").read_bytes()
    assert (installed / "client.js").read_bytes() == served
    names = {path.name for path in installed.iterdir()}
    assert names == {
        *("README.md", "client.js", "dispatch.js", "index.d.ts", "index.js", "package.json"),
    }


@needs_npm
@needs_redis
@pytest.mark.parametrize(
    ("drops", "ws"), [(DROPS, None), needs_ws.parameter(DROPS // 10, str(WS), id="ws")]
)
def test_follow_goes_through_a_thousand_drops_and_loses_and_doubles_nothing(
    project, drops, ws, tmp_path
):
    with RedisProcess() as server, dropping(server, drops) as world:
        options = {"eager": True, "rejoin": 100, **({"ws": ws} if ws else {})}
        with Follower(tmp_path, world.dispatcher, project / "entry.mjs", **options) as follower:
            follower.until_live()
            world.begin()
            until(lambda: len(follower.numbers) >= world.records, "all records", 120)
            follower.send("close")
            assert follower.end() == 0
            assert follower.numbers == list(range(world.records))
            assert not [said for said in follower.said if "gap" in said]
        assert world.done == drops
        assert len(world.dispatcher.sessions) > KILLS


@needs_npm
@needs_node
def test_dispatch_repeats_429_and_503_and_follows_202_to_a_session(project):
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        error = {"error": {"code": "limit_reached", "message": "all taken"}}
        world.answers = [
            (503, {"Retry-After": "1"}, {"error": {"code": "unavailable", "message": "no table"}}),
            (429, {"Retry-After": "1"}, error),
            (202, {"Retry-After": "1"}, {"id": "the-id", "state": "QUEUED", "retryAfter": 0.01}),
        ]
        said = dispatched(project, world)
        assert said["session"]["url"].startswith("ws://")
        assert [(phase, status) for phase, _, status in said["states"]] == [
            *(("asking", None), ("waiting", 503), ("waiting", 429), ("pending", None)),
        ]
        assert all(1 <= seconds < 2 for _, seconds, status in said["states"] if status)
        assert len(set(world.keys)) == 1
        assert len(world.keys) == 3


@needs_npm
@needs_node
@pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        ((400, {}, {"error": {"code": "unknown_app", "message": "no"}}), {}, (400, "unknown_app")),
        # A wait that is longer than the timeout is not begun.
        (
            (429, {"Retry-After": "600"}, {"error": {"code": "limit_reached", "message": "no"}}),
            {"timeout": 5000},
            (429, "limit_reached"),
        ),
        (
            (200, {}, {"id": "the-id", "state": "ENDED", "reason": "failed_to_start"}),
            {},
            (200, "failed_to_start"),
        ),
        (
            (202, {}, {"id": "the-id", "state": "QUEUED", "retryAfter": 9}),
            {"timeout": 500},
            (0, "timeout"),
        ),
        ((302, {"Location": "http://127.0.0.1:1/"}, {}), {"timeout": 100}, (0, "unreachable")),
    ],
)
def test_dispatch_throws_what_repeating_cannot_change(project, answer, options, expected):
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        world.answers = [answer]
        error = dispatched(project, world, **options)["error"]
        assert error["name"] == "DispatchError"
        assert (error["status"], error["code"]) == expected


@needs_node
@pytest.mark.parametrize(
    ("what", "key", "expected"),
    [
        ("leaves", (), ["DELETE /sessions/the-id", "AbortError"]),
        ("leaves", ("shared",), ["AbortError"]),
        ("comes", (), []),
    ],
)
def test_who_leaves_while_a_session_is_coming_stops_it(tmp_path, what, key, expected):
    script = tmp_path / "leave.mjs"
    script.write_text(GIVEN_UP.replace("DISPATCH", str(ROOT / "clients" / "js" / "dispatch.js")))
    done = subprocess.run(
        ["node", str(script), what, *key], capture_output=True, text=True, check=True
    )
    calls = json.loads(done.stdout)
    polls = [call for call in calls if call.startswith("GET")]
    assert polls == ["GET /session", *["GET /sessions/the-id"] * (len(polls) - 1)]
    assert [call for call in calls if call not in polls] == expected


@needs_node
def test_a_clock_that_is_set_back_keeps_nobody_at_a_container_that_is_gone(tmp_path):
    (tmp_path / "client.mjs").write_bytes((ROOT / "session_handler" / "client.js").read_bytes())
    script = CLOCK_SET_BACK.replace("usher-client", "./client.mjs")
    (tmp_path / "clock.mjs").write_text(script)
    words = ["node", "clock.mjs"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("asked after")


@needs_npm
@needs_node
@needs_typescript
def test_the_types_are_those_of_the_code(project):
    (project / "typed.ts").write_text(TYPED)
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"]
    done = subprocess.run(
        ["node", TSC, *options, "--lib", "es2022,dom", "typed.ts"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    names = subprocess.run(
        ["node", "-e", 'import("usher-client").then((m) => console.log(Object.keys(m).join(" ")))'],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(names.stdout.split()) == {
        "DispatchError",
        "connect",
        "dispatch",
        "follow",
        "version",
    }


def test_one_version_everywhere():
    declared = json.loads((packages.JS / "package.json").read_text(encoding="utf-8"))["version"]
    assert f'version = "{declared}"' in packages.SHARED_CLIENT.read_text(encoding="utf-8")
    assert f'version = "{declared}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
