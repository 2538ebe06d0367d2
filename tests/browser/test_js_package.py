"""The npm package in a real browser, on real containers that are dropped."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page

from infra import packages
from tests.drops import dropping
from tests.needs import needs_chromium, needs_redis
from tests.redis_feed import RedisProcess

DROPS = 200
PAGE = """<!doctype html><meta charset="utf-8"><title>package</title><script type="module">
import { dispatch, follow } from "./package/index.js";
const dispatcher = decodeURIComponent(location.hash.slice(1));
const numbers = (window.numbers = []);
const session = await dispatch(dispatcher);
const following = follow(dispatcher, {
  session,
  rejoin: 100,
  onRecords: (records) => numbers.push(...records.map(({ data }) => data.n)),
  onGap: () => numbers.push("gap"),
  onState: ({ phase }) => {
    if (phase === "waiting") queueMicrotask(() => following.retry());
    window.phase = phase;
  },
});
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def origin(tmp_path):
    packages.lay_out_js(tmp_path / "package")
    (tmp_path / "index.html").write_text(PAGE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@needs_chromium
@needs_redis
def test_follow_in_chromium_goes_through_drops_and_loses_and_doubles_nothing(page: Page, origin):
    with RedisProcess() as server, dropping(server, DROPS) as world:
        page.goto(f"{origin}/index.html#{world.dispatcher.url}")
        page.wait_for_function("window.phase === 'live'")
        world.begin()
        page.wait_for_function(f"window.numbers.length >= {world.records}", timeout=60_000)
        assert page.evaluate("window.numbers") == list(range(world.records))
        assert world.done == DROPS
