"""The console in a real browser, over a cloud with hostile records."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import emulators
from tests.browser.console_stage import (
    HOSTILE,
    KEYS,
    TALL,
    invocation,
    invoke,
    launch_stage,
    register_talks,
    wait_for_state,
)
from tests.browser.watched import PageWatch
from tests.integration.conftest import RunningCloud, finish
from tests.needs import needs_axe, needs_chromium

AXE = emulators.FOLDER / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 375, "height": 800}
LINES = [HOSTILE, "\x1b[31mred", "مرحبا 🎭", *(f"line {number}" for number in range(600))]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    folder = tmp_path_factory.mktemp("console")
    cloud = launch_stage(folder / "run", host_cpu=2048, host_memory=4096)
    try:
        register_talks(cloud, folder / "talks")
        yield cloud
    finally:
        finish(cloud)


@pytest.fixture(scope="module")
def ended(stage: RunningCloud) -> str:
    """An invocation of the hostile owner that printed what attacks pages and terminals."""
    made = invoke(stage, HOSTILE, lines=LINES, number=TALL)
    wait_for_state(stage, made, "FINISHED")
    return made


def sign_in(page: Page, stage: RunningCloud, path: str = "", who: str = "opal") -> None:
    page.goto(f"{stage.dispatcher}/console{path}")
    page.get_by_label("API key").fill(KEYS[who])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who")).to_contain_text(who)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


@needs_chromium
def test_hostile_records_are_text_and_whole_numbers_are_whole(page, watch, stage, ended):
    sign_in(page, stage, f"/invocations/{ended}")
    expect(page.locator("h1")).to_contain_text("talks")
    expect(page.locator(".log")).to_contain_text(HOSTILE)
    expect(page.locator(".log")).to_contain_text("line 599")
    expect(page.locator(".json").first).to_contain_text(f'"number": {TALL}')
    expect(page.locator(".facts")).to_contain_text(f"api_key:{HOSTILE}")
    page.get_by_label("Only lines with").fill("LINE 59")
    assert page.locator(".log span:visible").count() == 11
    page.get_by_role("link", name="Invocations").click()
    expect(page.locator("tbody tr").first).to_contain_text(HOSTILE)
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()
    assert watch.complaints == []


@needs_chromium
def test_filters_are_in_the_address_and_looked_up_by_the_dispatcher(page, watch, stage, ended):
    sign_in(page, stage, "/invocations")
    with page.expect_request(re.compile(r"/invocations\?.*status=EXPIRED")):
        page.get_by_label("State").select_option("EXPIRED")
    expect(page.locator("main")).to_contain_text(re.compile("Nothing (fits|in what)"))
    assert page.url.endswith("?status=EXPIRED")
    page.go_back()
    expect(page.locator("tbody tr").first).to_be_visible()
    expect(page.get_by_label("State")).to_have_value("")
    page.get_by_label("Owner", exact=True).fill(f"api_key:{HOSTILE}")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.get_by_label("Owner", exact=True)).to_have_value(f"api_key:{HOSTILE}")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert watch.complaints == []


@needs_chromium
def test_a_run_is_followed_killed_and_run_again(page, watch, stage):
    made = invoke(stage, lines=["first"], seconds=300)
    sign_in(page, stage, f"/invocations/{made}")
    expect(page.locator(".log")).to_contain_text("first", timeout=60_000)
    button(page, "Kill").click()
    expect(page.get_by_role("dialog")).to_contain_text("SIGTERM")
    button(page, "Cancel").click()
    assert invocation(stage, made)["state"] == "STARTED"
    button(page, "Kill").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("killed", timeout=60_000)
    assert invocation(stage, made)["reason"] == "killed"
    button(page, "Run again").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    page.locator(".toast a").click()
    expect(page.locator(".facts")).to_contain_text("Again of")
    again = page.url.rpartition("/")[2]
    assert invocation(stage, again)["rerunOf"] == made
    button(page, "Kill").click()
    page.get_by_role("dialog").get_by_role("button", name="Kill").click()
    expect(page.locator("h1")).to_contain_text("killed", timeout=60_000)
    assert watch.complaints == []


@needs_chromium
def test_a_viewer_sees_why_a_button_does_nothing_and_is_refused_by_the_dispatcher(
    page, watch, stage, ended
):
    sign_in(page, stage, f"/invocations/{ended}", who="vic")
    expect(page.locator(".log")).to_contain_text("line 599")
    again = button(page, "Run again")
    expect(again).to_have_attribute("title", re.compile("viewers see everything"))
    again.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("change nothing")
    crafted = page.evaluate(
        """id => fetch(`../../invocations/${id}/rerun`, {method: "POST", body: "{}",
        headers: {"X-Api-Key": sessionStorage["usher-key"], "Content-Type": "application/json"}})
        .then(answer => answer.status)""",
        ended,
    )
    assert crafted == 403
    assert [said for said in watch.complaints if "403" not in said] == []


@needs_chromium
def test_the_key_is_in_no_address_log_or_storage_beyond_the_tab(page, browser, stage, ended):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, stage, f"/invocations/{ended}")
    key = KEYS["opal"]
    assert not [url for url in asked if "key" in url.lower()]
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert page.evaluate("Object.values(sessionStorage)") == [key]
    other = page.context.new_page()
    other.goto(f"{stage.dispatcher}/console")
    expect(other.get_by_label("API key")).to_be_visible()
    button(page, "Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    assert key not in "".join(stage.errors)


@needs_chromium
def test_a_wrong_key_is_said_and_forgotten(page, stage):
    page.goto(f"{stage.dispatcher}/console")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    assert page.evaluate("sessionStorage.length") == 0


@needs_chromium
def test_a_network_that_is_gone_leaves_what_was_shown_and_comes_back(page, stage, ended):
    sign_in(page, stage, "/invocations")
    expect(page.locator("tbody tr").first).to_be_visible()
    page.context.set_offline(True)
    page.keyboard.press("r")
    expect(page.locator("#banner")).to_contain_text("What you see is of")
    assert page.locator("tbody tr").count()
    page.context.set_offline(False)
    expect(page.locator("#banner")).to_be_hidden()


@needs_chromium
def test_live_updates_can_be_paused_and_ids_are_found(page, stage, ended):
    sign_in(page, stage, "/invocations")
    page.keyboard.press("p")
    expect(button(page, "Paused")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("live updates")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(ended)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("talks")
    assert page.url.endswith(ended)
    page.keyboard.press("/")
    page.keyboard.type("6d6cf8ce-0000-4000-8000-000000000000")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Nothing is called")


PAGES = ["", "/invocations", "/invocations/{ended}"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@needs_axe
@needs_chromium
def test_each_page_is_accessible_and_fits_a_phone(
    browser: Browser, stage: RunningCloud, ended: str, theme: str, tmp_path: Path
) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=theme)
    try:
        page = context.new_page()
        watch = PageWatch(page)
        sign_in(page, stage)
        for path in PAGES:
            page.goto(f"{stage.dispatcher}/console{path.format(ended=ended)}")
            expect(page.locator("main h1")).to_be_visible()
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            for size in (PHONE, {"width": 1280, "height": 900}):
                page.set_viewport_size(size)
                page.evaluate(AXE.read_text("utf-8"))
                found = page.evaluate("axe.run().then(found => found.violations)")
                said = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found]
                assert said == [], (path, size)
            page.set_viewport_size(PHONE)
        assert watch.complaints == []
    finally:
        context.close()
