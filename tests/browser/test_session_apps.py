"""The pages of session apps under `usher dev`, in a real browser."""

import json
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.integration.conftest import ROOT
from tests.integration.test_usher_dev import Dev
from tests.needs import needs_chromium
from usher.new_session import write_session_app

EXAMPLES = ROOT / "examples" / "sessions"


@pytest.fixture
def start(tmp_path):
    started = []

    def start(folder):
        started.append(Dev(folder, tmp_path))
        return started[-1]

    yield start
    for dev in started:
        dev.end()


def put(dev, tmp_path, records):
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    command = [sys.executable, "-m", "local", "feed", str(file), "--endpoint", dev.ready["aws"]]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


@needs_chromium
def test_the_page_of_a_new_session_app(page, watch, start, tmp_path):
    write_session_app("counter", tmp_path / "app")
    dev = start(tmp_path / "app")
    page.goto(dev.page)
    expect(page.locator("#state")).to_have_text("live", timeout=30_000)
    expect(page.locator("#log")).to_contain_text("welcome")
    put(dev, tmp_path, [{"city": "Oslo"}])
    expect(page.locator("#log")).to_contain_text('{"city":"Oslo"}')
    page.fill("#want", "Rome")
    page.press("#want", "Enter")
    expect(page.locator("#log")).to_contain_text('"want":"Rome","seen":1')
    assert "error:" not in watch.report()


@needs_chromium
def test_a_python_of_ones_own(page, watch, start):
    dev = start(EXAMPLES / "python-repl")
    page.goto(dev.page)
    expect(page.locator("#state")).to_have_text("live", timeout=30_000)
    page.fill("#code", "total = sum(range(10))\nprint('total', total)")
    page.press("#code", "Control+Enter")
    expect(page.locator("#output")).to_contain_text("total 45\n")
    page.reload()
    expect(page.locator("#state")).to_have_text("live", timeout=30_000)
    page.fill("#code", "def f():\n    while True: pass\n\nf()")
    page.click("text=Run")
    page.wait_for_timeout(300)
    page.click("#interrupt")
    expect(page.locator("#output")).to_contain_text("KeyboardInterrupt")
    page.fill("#code", "open('notes.txt', 'w').write('hello')")
    page.click("text=Run")
    expect(page.locator("#files")).to_have_text("notes.txt")
    page.click("#restart")
    expect(page.locator("#output")).to_contain_text("a new one starts")
    assert "error:" not in watch.report()


@needs_chromium
def test_listings_on_a_map(page, watch, start, tmp_path):
    dev = start(EXAMPLES / "listing-map")
    page.goto(dev.page)
    expect(page.locator("#state")).to_have_text("live", timeout=30_000)
    inside = {"latitude": -37.8, "longitude": 145.0, "price": 600_000}
    outside = {"latitude": -37.5, "longitude": 145.5, "price": 900_000}
    put(dev, tmp_path, [inside, outside])
    expect(page.locator("#summary")).to_contain_text("2 shown here of 2 seen in all")
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7)
    page.mouse.up()
    expect(page.locator("#chosen")).to_contain_text("part: ")
    put(dev, tmp_path, [inside, outside])
    expect(page.locator("#summary")).to_contain_text("1 shown here of 4 seen in all")
    page.fill("#price", "500000")
    page.press("#price", "Enter")
    put(dev, tmp_path, [inside, outside])
    expect(page.locator("#summary")).to_contain_text("0 shown here of 6 seen in all")
    assert "error:" not in watch.report()


@needs_chromium
def test_a_chat_among_sessions(page, watch, start, browser):
    dev = start(EXAMPLES / "chat")
    page.goto(f"{dev.page}?room=blue&name=Ann")
    expect(page.locator("#state")).to_have_text("live", timeout=30_000)
    expect(page.locator("#name")).to_have_text("Ann")
    others = [browser.new_page(), browser.new_page()]
    for other, query in zip(others, ("room=blue&name=Bob", "room=red&name=Eve"), strict=True):
        other.goto(f"{dev.page}?{query}")
        expect(other.locator("#state")).to_have_text("live", timeout=30_000)
    bob, eve = others
    expect(page.locator("#said")).to_contain_text("Bobjoined")
    for each, text in ((page, "hello <b>Bob</b>"), (eve, "anybody here?"), (bob, "hello Ann")):
        each.fill("#say", text)
        each.press("#say", "Enter")
        expect(each.locator("#said")).to_contain_text(text)
    for each in (page, bob):
        expect(each.locator("#said li:not(.news)")).to_have_text(
            ["Annhello <b>Bob</b>", "Bobhello Ann"]
        )
    expect(page.locator("#said li.own")).to_have_count(1)
    expect(eve.locator("#said li:not(.news)")).to_have_text(["Eveanybody here?"])
    bob.close()
    expect(page.locator("#said")).to_contain_text("Bobleft", timeout=30_000)
    for number in range(8):
        page.fill("#say", f"{number}")
        page.press("#say", "Enter")
    expect(page.locator("#error")).to_have_text("not so fast")
    eve.close()
    assert "error:" not in watch.report()
