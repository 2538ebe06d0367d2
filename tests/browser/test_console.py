"""The console in a real browser, over a cloud with hostile records."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests import emulators
from tests.browser.console_stage import (
    HOSTILE,
    KEYS,
    TALL,
    as_,
    invocation,
    invoke,
    launch_stage,
    register_talks,
    wait_for_listed,
    wait_for_state,
)
from tests.browser.many_records import NAMES, write_left_out, write_many
from tests.browser.watched import PageWatch
from tests.integration.conftest import RunningCloud, finish
from tests.needs import needs_axe, needs_chromium

AXE = emulators.FOLDER / "node_modules" / "axe-core" / "axe.min.js"
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Makes the page hidden or visible as a browser does when the user changes tabs."""
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


@pytest.fixture(scope="module")
def schedules(stage: RunningCloud, ended: str) -> list[str]:
    """Three schedules of `talks`, which run next week at the earliest."""
    expressions = {
        "monthly": "cron(0 12 ? * 2#1 *)",
        "rarely": "rate(30 days)",
        "weekly": "cron(0 9 ? * MON *)",
    }
    for name, expression in expressions.items():
        body = {
            "job": "talks",
            "expression": expression,
            "timezone": "America/New_York",
            "parameters": {"number": TALL, "lines": [HOSTILE]},
        }
        assert stage.http("PUT", f"/schedules/{name}", body, as_("opal"))[0] == 201
    return list(expressions)


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
def test_a_search_in_a_log_holds_for_lines_to_come(page, watch, stage):
    made = invoke(stage, lines=["keep 1", "drop 2", "keep 3"], seconds=1)
    sign_in(page, stage, f"/invocations/{made}")
    page.get_by_label("Only lines with").fill("keep")
    expect(page.locator(".log")).to_contain_text("keep 3", timeout=60_000)
    expect(page.locator(".log")).to_contain_text("drop 2")
    expect(page.locator(".log span:visible")).to_have_count(2)
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


@needs_chromium
def test_names_are_found_ids_are_copied_and_an_instant_is_told_twice(
    page, watch, stage, schedules, ended
):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, stage)
    for typed, path in {
        "talks": "/jobs/talks",
        "weekly": "/schedules/weekly",
        "listings": "/apps/listings",
        "api_key:opal": "/invocations?owner=api_key%3Aopal",
    }.items():
        page.get_by_role("searchbox").fill(typed)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{stage.dispatcher}/console{path}")
    page.goto(f"{stage.dispatcher}/console/invocations/{ended}")
    page.get_by_role("button", name=f"Copy {ended}").click()
    expect(page.locator(".toast")).to_contain_text(f"Copied {ended}")
    assert page.evaluate("navigator.clipboard.readText()") == ended
    expect(page.locator(".facts time").first).to_have_text(
        re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC (now|.+ ago)")
    )
    # A name may belong to another kind: the page requests all kinds, and some refuse it.
    assert [said for said in watch.complaints if "404" not in said and "400" not in said] == []


@needs_chromium
def test_an_owner_sees_and_does_what_is_its_own_and_is_told_why_not_the_rest(
    page, watch, stage, ended
):
    others = invoke(stage)
    sign_in(page, stage, who=HOSTILE)
    expect(page.locator("main")).to_contain_text("Here is what belongs to you")
    page.locator("main").get_by_role("link", name="invocations").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto(f"{stage.dispatcher}/console/invocations/{others}")
    expect(page.locator("h1")).to_have_text("Not found")
    page.goto(f"{stage.dispatcher}/console/apps/listings")
    expect(button(page, "Drain")).to_have_attribute("title", "Only operators may do this.")
    page.goto(f"{stage.dispatcher}/console/invocations/{ended}")
    expect(button(page, "Run again")).not_to_have_attribute("aria-disabled", "true")
    page.goto(f"{stage.dispatcher}/console/hosts")
    expect(page.locator(".empty")).to_contain_text("operators and viewers")
    assert [said for said in watch.complaints if "404" not in said and "403" not in said] == []


@needs_chromium
def test_an_invocation_that_waits_says_why_and_until_when(page, watch, stage):
    at = (datetime.now(UTC) + timedelta(hours=3)).isoformat(timespec="seconds")
    body = {"parameters": {}, "at": at}
    _, made = stage.http("POST", "/jobs/talks/invocations", body, as_("opal"))
    sign_in(page, stage, f"/invocations/{made['id']}")
    expect(page.locator(".notice")).to_contain_text("Why it waits: its time comes at")
    button(page, "Kill").click()
    page.get_by_role("dialog").get_by_role("button", name="Kill").click()
    expect(page.locator("h1")).to_contain_text("killed", timeout=60_000)
    assert watch.complaints == []


EMPTY = {
    "invocations": ("invocations", "Choose one under Jobs and run it"),
    "sessions": ("sessions", "GET /session"),
    "jobs": ("jobs", "usher new NAME"),
    "schedules": ("schedules", "usher schedule put"),
    "apps": ("apps", "usher deploy"),
    "hosts": ("hosts", "The capacity provider adds one"),
    "assignments": ("assignments", "usher assignment put"),
    "audit": ("records", "Every change by anybody is recorded here"),
}


@needs_chromium
def test_a_page_without_records_says_how_to_get_some(page, watch, stage):
    def empty(route: Route) -> None:
        if route.request.resource_type != "fetch":
            route.continue_()
            return
        route.fulfill(json={name: [] for name, _ in EMPTY.values()} | {"next": None})

    sign_in(page, stage)
    page.route(re.compile(rf"/({'|'.join(EMPTY)})(\?.*)?$"), empty)
    for path, (_, said) in EMPTY.items():
        page.goto(f"{stage.dispatcher}/console/{path}")
        expect(page.locator(".empty")).to_contain_text(said)
    assert watch.complaints == []


@needs_chromium
def test_a_hidden_page_asks_for_nothing_and_a_shown_one_goes_on(page, watch, stage):
    made = invoke(stage, lines=["before"], seconds=300)
    page.clock.install()
    sign_in(page, stage, f"/invocations/{made}")
    with page.expect_request(re.compile(r"wait=25")):
        expect(page.locator(".log")).to_contain_text("before", timeout=60_000)
    page.evaluate(HIDE, True)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(300_000)
    assert asked == []
    stage.http("POST", f"/invocations/{made}/kill", {}, as_("opal"))
    wait_for_state(stage, made, "FINISHED")
    page.evaluate(HIDE, False)
    expect(page.locator("h1")).to_contain_text("killed")
    assert asked
    assert watch.complaints == []


@needs_chromium
def test_a_form_from_the_schema_runs_a_job_with_numbers_as_typed(page, watch, stage):
    sign_in(page, stage, "/jobs")
    page.get_by_role("link", name="talks").click()
    expect(page.locator("form.form")).to_contain_text(HOSTILE)
    page.get_by_label("number integer").fill("many")
    button(page, "Run now").click()
    expect(page.get_by_role("alert")).to_contain_text("number: a whole number")
    page.get_by_label("number integer").fill(str(TALL))
    page.get_by_label("lines").fill('["from the console"]')
    page.get_by_label("number integer").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text(str(TALL))
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".log")).to_contain_text("from the console", timeout=20_000)
    made = page.url.rpartition("/")[2]
    assert invocation(stage, made)["parameters"]["number"] == TALL
    assert watch.complaints == []


@needs_chromium
def test_schedules_are_paused_one_by_one_and_all_at_once_after_saying_which(
    page, watch, stage, schedules
):
    def paused():
        _, answer = stage.http("GET", "/schedules", None, as_("opal"))
        return [one["id"] for one in answer["schedules"] if one["paused"]]

    sign_in(page, stage, "/schedules")
    row = page.locator("tr", has_text="weekly")
    expect(row).to_contain_text("at 09:00 on Monday")
    row.get_by_role("link", name="weekly").click()
    expect(page.locator("thead")).to_contain_text("In America/New_York")
    expect(page.locator("tbody tr")).to_have_count(10)
    button(page, "Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("h1")).to_contain_text("paused")
    assert paused() == ["weekly"]
    button(page, "Run now").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    expect(page.locator(".toast a")).to_be_visible()
    page.get_by_role("link", name="Schedules").click()
    button(page, "Pause all").click()
    expect(page.get_by_role("dialog")).to_contain_text("This hits 2 schedules")
    expect(page.get_by_role("dialog").locator("li")).to_have_count(2)
    page.get_by_role("dialog").get_by_role("button", name="Pause 2").click()
    expect(page.locator(".toast", has_text="2 of 2")).to_be_visible()
    assert paused() == sorted(schedules)
    button(page, "Resume all").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume 3").click()
    expect(page.locator(".toast", has_text="3 of 3")).to_be_visible()
    assert paused() == []
    assert watch.complaints == []


@needs_chromium
def test_a_session_is_found_its_story_told_and_stopped(page, watch, stage):
    _, made = stage.http("GET", "/session", None, as_("opal"))
    sign_in(page, stage, f"/sessions?owner=api_key%3Aopal&app={made['app']}")
    row = page.locator("tr", has_text=made["id"])
    expect(row).to_contain_text("RESERVED")
    row.get_by_role("link", name=made["app"]).click()
    expect(page.locator(".timeline")).to_contain_text("RunTask accepted")
    expect(page.locator(".log")).to_contain_text(f"session={made['id']}")
    refused, _ = stage.http("GET", f"/sessions/{made['id']}/logs", None, as_(HOSTILE))
    assert refused == 403
    expect(page.locator(".facts")).to_contain_text(f"{made['ip']}:{made['port']}")
    button(page, "Explain its placement").click()
    expect(page.get_by_role("table", name="Hosts as they are now")).to_contain_text("fits")
    assert made["path"].strip("/") not in page.content()
    button(page, "Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("h1")).to_contain_text("stopped")
    expect(page.locator(".timeline")).to_contain_text("ENDED", timeout=60_000)
    assert watch.complaints == []


@needs_chromium
def test_an_app_is_rolled_back_and_the_audit_tells_who_did_it(page, watch, stage):
    for tone in ("blue", "red"):
        body = {"image": "usher-session", "description": {"environment": {"TONE": tone}}}
        assert stage.http("PUT", "/apps/toned", body, as_("opal"))[0] == 200
    sign_in(page, stage, "/apps")
    page.get_by_role("link", name="toned").click()
    button(page, "Roll back").click()
    expect(page.get_by_role("dialog")).to_contain_text("Take revision 2 of toned back?")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator(".toast")).to_contain_text("Revision 1 is the newest now")
    page.get_by_role("link", name="Audit").click()
    page.get_by_label("Action").select_option("app.rollback")
    expect(page.locator("tbody tr")).to_have_count(1, timeout=30_000)
    expect(page.locator("tbody tr")).to_contain_text("revision: 2 → 1")
    with page.expect_download() as download:
        button(page, "Export").click()
    lines = Path(download.value.path()).read_text("utf-8").splitlines()
    assert [(one["action"], one["who"]) for one in map(json.loads, lines)] == [
        ("app.rollback", "api_key:opal")
    ]
    assert watch.complaints == []


@needs_chromium
def test_the_first_page_says_what_is_wrong_first(page, watch, stage, ended):
    sqs = stage.client("sqs")
    queue = sqs.get_queue_url(QueueName="usher-local-jobs-dead")["QueueUrl"]
    stage.fire("sweep")
    sign_in(page, stage, who="vic")
    expect(page.locator(".notice")).to_contain_text("Nothing is wrong")
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    page.keyboard.press("r")
    expect(page.locator(".notice")).to_contain_text("1 message about jobs given up")
    sqs.purge_queue(QueueUrl=queue)
    page.keyboard.press("r")
    expect(page.locator(".notice")).to_contain_text("Nothing is wrong")
    expect(page.locator(".tiles").first).to_contain_text("Jobs that run")
    assert watch.complaints == []


@needs_chromium
def test_a_host_says_what_runs_on_it_and_is_found_by_the_ids_that_ecs_gave(page, watch, stage):
    _, made = stage.http("GET", "/session?wait=20", None, as_("opal"))
    task = next(task for task in stage.tasks() if made["id"] in task["startedBy"])
    sign_in(page, stage, "/hosts", who="vic")
    expect(page.locator("tbody tr").first).to_contain_text("ACTIVE")
    page.keyboard.press("/")
    page.keyboard.type(task["containerInstanceArn"])
    page.keyboard.press("Enter")
    expect(page.locator("tbody")).to_contain_text(task["taskArn"].rpartition("/")[2])
    page.get_by_role("searchbox").fill(task["taskArn"])
    page.keyboard.press("Enter")
    expect(page.locator(".timeline")).to_be_visible()
    assert page.url.endswith(made["id"])
    stage.http("DELETE", f"/sessions/{made['id']}", None, as_("opal"))
    assert [said for said in watch.complaints if "404" not in said] == []


NOTHING = {"places": 0, "cpu": 0, "memory": 0}
BATCH = {
    "name": "batch",
    "tier": "flex",
    "taken": {"places": 30, "cpu": 15_360, "memory": 30_720},
    "guaranteed": {"places": 10, "cpu": 0, "memory": 0},
    "maximum": {"places": 40, "cpu": None, "memory": None},
    "borrowed": {"places": 20, "cpu": 0, "memory": 0},
    "waiting": 7,
    "secondsBetweenStarts": 3.4,
}
SEARCH = BATCH | {"name": "search", "tier": "critical", "borrowed": NOTHING, "waiting": 0}
DRAINED = {"status": "DRAINING", "leaving": True, "drainReason": "scale-in"}


def show_groups_and_drains(page: Page) -> None:
    """The response has a capacity file and a host planner; all other fields are the
    dispatcher's.
    """

    def overview(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"groups": [SEARCH, BATCH]})

    def hosts(route: Route) -> None:
        answer = route.fetch()
        first, *others = answer.json()["hosts"]
        drained = first | DRAINED | {"drainingSince": first["registeredAt"]}
        route.fulfill(response=answer, json={"hosts": [drained, *others], "next": None})

    page.route("**/overview", overview)
    page.route("**/hosts?*", hosts)


@needs_chromium
def test_capacity_groups_and_why_the_planner_drains_a_host_are_shown(page, watch, stage):
    show_groups_and_drains(page)
    sign_in(page, stage, who="vic")
    row = page.locator("tr", has_text="batch")
    expect(row).to_contain_text("30\u00a0places, 15360\u00a0units, 30720\u00a0MiB")
    for text in ("flex", "10\u00a0places", "40\u00a0places", "20\u00a0places", "7", "3.4\u00a0s"):
        expect(row.get_by_text(text, exact=True)).to_be_visible()
    page.get_by_role("link", name="Hosts", exact=True).first.click()
    expect(page.locator("tbody tr").first).to_contain_text("DRAINING too many hosts, for")
    assert watch.complaints == []


@needs_chromium
def test_an_app_shows_its_containers_and_is_drained_by_an_operator_alone(page, watch, stage):
    description = {"pool": {"minimum": 1, "maximum": 1}}
    body = {"image": "usher-session", "description": description}
    assert stage.http("PUT", "/apps/pooled", body, as_("opal"))[0] == 200
    assert stage.http("POST", "/apps/pooled/drain", None, as_("vic"))[0] == 403
    sign_in(page, stage, "/apps/pooled")
    warm = page.locator("tbody tr", has_text="WARM")
    expect(warm).to_contain_text("us-east-1", timeout=60_000)
    button(page, "Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(page.locator(".toast")).to_contain_text("1 warm containers are being stopped")
    assert stage.http("DELETE", "/apps/pooled", None, as_("opal"))[0] == 200
    assert watch.complaints == []


@needs_chromium
def test_the_containers_of_a_large_app_are_counted_in_parts_and_shown_meanwhile(page, watch, stage):
    asked: list[Route] = []
    row = {"revision": 1, "state": "ACTIVE", "host": None, "zone": None}

    def note(route: Route) -> None:
        asked.append(route)

    name = stage.http("GET", "/apps", None, as_("vic"))[1]["apps"][0]["name"]
    page.route(f"**/apps/{name}/containers?*", note)

    def answer_next(following: str | None, *groups: dict) -> str:
        wait_on(page, lambda: len(asked) > 0)
        route = asked.pop(0)
        route.fulfill(json={"groups": groups, "whole": not following, "next": following})
        return route.request.url.partition("?")[2]

    sign_in(page, stage, f"/apps/{name}")
    assert answer_next("more", {**row, "count": 1999}) == "limit=1000"
    expect(page.get_by_role("status").first).to_contain_text("Counting: 1999 so far.")
    last = answer_next(None, {**row, "count": 1}, {**row, "state": "WARM", "count": 2})
    assert last == "limit=2000&next=more"
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="ACTIVE").get_by_role("link", name="2000")).to_be_visible()
    expect(rows.filter(has_text="WARM").get_by_role("link", name="2")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("2000")
    expect(page.get_by_text("Counting:")).to_have_count(0)
    page.keyboard.press("r")
    answer_next("more", {**row, "count": 1})
    wait_on(page, lambda: len(asked) > 0)
    expect(rows.filter(has_text="ACTIVE").get_by_role("link", name="2000")).to_be_visible()
    assert watch.complaints == []


def wait_on(page: Page, is_so: Callable[[], bool]) -> None:
    """Let the page go on until it is so."""
    for _ in range(400):
        if is_so():
            return
        page.wait_for_timeout(50)
    raise AssertionError("not so after 20 seconds")


@needs_chromium
def test_what_a_filter_selects_is_killed_after_saying_what_it_hits(page, watch, stage):
    made = [invoke(stage, lines=["x"], seconds=300) for _ in range(2)]
    other = invoke(stage, HOSTILE, lines=["x"], seconds=300)
    sign_in(page, stage, "/invocations?job=talks&owner=api_key%3Aopal")
    button(page, "Kill all of these").click()
    expect(page.get_by_role("dialog").locator("li")).to_have_count(2)
    page.get_by_role("dialog").get_by_role("button", name="Kill 2").click()
    expect(page.locator(".toast")).to_contain_text("2 of 2 invocations killed")
    for each in made:
        wait_for_state(stage, each, "FINISHED")
    assert invocation(stage, other)["state"] not in ("FINISHED", "KILL_INITIATED")
    stage.http("POST", f"/invocations/{other}/kill", {}, as_("opal"))
    assert watch.complaints == []


@needs_chromium
def test_two_operators_kill_the_same_run_and_one_reloads_meanwhile(page, watch, browser, stage):
    made = invoke(stage, lines=["x"], seconds=300)
    wait_for_state(stage, made, "STARTED")
    context = browser.new_context()
    second = context.new_page()
    others = PageWatch(second)
    for each in (page, second):
        sign_in(each, stage, f"/invocations/{made}")
        button(each, "Kill").click()
        expect(each.get_by_role("dialog")).to_contain_text("SIGTERM")
    with page.expect_request(re.compile(r"/kill$")):
        page.get_by_role("dialog").get_by_role("button", name="Kill").click()
        page.reload()
    second.get_by_role("dialog").get_by_role("button", name="Kill").click()
    for each in (page, second):
        expect(each.locator("h1")).to_contain_text("killed", timeout=60_000)
        expect(button(each, "Kill")).to_have_attribute("title", "It has ended.")
    assert invocation(stage, made)["reason"] == "killed"
    assert others.complaints == []
    context.close()
    assert watch.complaints == []


@needs_chromium
def test_pages_of_many_records_have_each_once_whatever_they_are_called(page, watch, stage):
    write_many(stage.client("dynamodb"), invocations=240)
    wait_for_listed(stage, f"job={quote(NAMES[2])}", 60)
    wait_for_listed(stage, f"job={quote(NAMES[0])}", 60)
    sign_in(page, stage, f"/invocations?job={quote(NAMES[2])}")
    expect(page.locator("tbody tr")).to_have_count(50)
    first = set(page.locator("tbody tr").evaluate_all("all => all.map(one => one.dataset.key)"))
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    rest = set(page.locator("tbody tr").evaluate_all("all => all.map(one => one.dataset.key)"))
    assert len(first | rest) == 60
    page.goto(f"{stage.dispatcher}/console/invocations?job={quote(NAMES[0])}")
    expect(page.locator("tbody tr").first).to_contain_text(NAMES[0])
    page.locator("tbody tr a").first.click()
    expect(page.locator(".json").first).to_contain_text(str(TALL))
    expect(page.locator(".json").first).to_contain_text(NAMES[0])
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()
    # Their logs return 404: no such job was ever deployed.
    assert [said for said in watch.complaints if "404" not in said] == []


@needs_chromium
def test_lines_of_the_last_hours_have_a_point_for_each_time_with_a_figure(page, watch, stage):
    trend = [
        {"at": f"2026-01-31T0{hour}:00:00.000Z", "active": 3 * hour, "warm": 2, "coming": 0,
         "jobsRunning": 9 - hour, "jobsWaiting": 0, "starts": hour % 2,
         "addressP50": None if hour == 4 else 0.05, "addressP99": None if hour < 8 else 2.5}
        for hour in range(9)
    ]  # fmt: skip

    def with_trend(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"trend": trend})

    page.route("**/overview", with_trend)
    sign_in(page, stage)
    line = page.get_by_role("img", name="Sessions in use: 0 to 24 since 2026-01-31T00:00:00.000Z")
    expect(line).to_be_visible()
    points = line.locator("polyline").get_attribute("points").split()
    assert len(points) == 9
    assert (points[0], points[-1]) == ("0.0,28.0", "120.0,2.0")
    half = page.get_by_role("img", name=re.compile("Time to address, p50"))
    assert len(half.locator("polyline").get_attribute("points").split()) == 8
    assert page.get_by_role("img", name=re.compile("p99")).count() == 0  # one point is no line
    assert watch.complaints == []


@needs_chromium
def test_what_a_schedule_left_out_is_a_link_to_the_runs_that_were_skipped(page, watch, stage):
    write_left_out(stage.client("dynamodb"), "late", "audited")
    wait_for_listed(stage, "job=audited&status=SKIPPED", 2)
    sign_in(page, stage, "/schedules")
    page.locator("tr", has_text="late").get_by_role("link", name="2", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("skipped")
    page.locator("tbody tr a").first.click()
    expect(page.locator("main")).to_contain_text("9000 s late, and misfireSeconds is 60")
    assert page.evaluate("history.length") > 2
    stage.http("DELETE", "/schedules/late", None, as_("opal"))
    # The links of its runs return 404: no such job was ever deployed.
    assert [said for said in watch.complaints if "404" not in said] == []


@pytest.fixture(scope="module")
def operator(browser: Browser, stage: RunningCloud) -> Iterator[Page]:
    """A page where an operator is signed in."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(20_000)
    sign_in(page, stage)
    yield page
    context.close()


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the element has the focus."""
    expect(target).to_be_visible()
    for _ in range(100):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {target}")


def act(page: Page, name: str, answer: str | None = None) -> None:
    """Use a button, and confirm what it asks, with the keyboard alone."""
    tab_to(page, button(page, name))
    page.keyboard.press("Enter")
    confirm = page.get_by_role("dialog").get_by_role("button", name=answer or name, exact=True)
    expect(confirm).to_be_visible()
    while not confirm.evaluate("element => element === document.activeElement"):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")


def new_run(stage: RunningCloud) -> str:
    return f"/invocations/{invoke(stage, seconds=300)}"


def new_session(stage: RunningCloud) -> str:
    return f"/sessions/{stage.http('GET', '/session', None, as_('opal'))[1]['id']}"


def new_app(stage: RunningCloud) -> str:
    for tone in ("one", "two"):
        description = {"environment": {"TONE": tone}, "pool": {"minimum": 0, "maximum": 1}}
        body = {"image": "usher-session", "description": description}
        assert stage.http("PUT", "/apps/typed", body, as_("opal"))[0] == 200
    return "/apps/typed"


def new_schedule(stage: RunningCloud) -> str:
    body = {"job": "talks", "expression": "rate(30 days)", "timezone": "UTC", "parameters": {}}
    assert stage.http("PUT", "/schedules/typed", body, as_("opal"))[0] in {200, 201}
    return "/schedules/typed"


def paused_schedule(stage: RunningCloud) -> str:
    path = new_schedule(stage)
    assert stage.http("POST", f"{path}/pause", None, as_("opal"))[0] == 200
    return path


def some_paused(stage: RunningCloud) -> str:
    paused_schedule(stage)
    return "/schedules"


def many_runs(stage: RunningCloud) -> str:
    new_run(stage)
    return "/invocations?job=talks&owner=api_key%3Aopal"


@needs_chromium
def test_next_runs_are_in_the_zone_of_the_schedule_and_of_the_reader(
    browser: Browser, stage: RunningCloud, schedules: list[str]
) -> None:
    assert "weekly" in schedules
    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    sign_in(page, stage, "/schedules/weekly")
    runs = page.get_by_role("table", name="Next runs")
    row = runs.locator("tbody tr").first.locator("th, td")
    # Nine o'clock in New York is 22 or 23 o'clock of the same Monday in Tokyo, as the season is.
    expect(row.nth(0)).to_contain_text(re.compile(r" 09:00:00 (GMT-[45]|E[SD]T)"))
    expect(row.nth(1)).to_contain_text(re.compile(r" 2[23]:00:00 (GMT\+9|JST)"))
    context.close()


ACTIONS = [
    ("Kill", None, new_run, "h1", "killed"),
    ("Run again", None, new_run, ".toast", "Asked for"),
    ("Stop", None, new_session, "h1", "stopped"),
    ("Roll back", None, new_app, ".toast", "is the newest now"),
    ("Drain", None, new_app, ".toast", "0 warm containers"),
    ("Pause", None, new_schedule, "h1", "paused"),
    ("Resume", None, paused_schedule, "h1", "on"),
    ("Run now", None, new_schedule, ".toast", "Asked for"),
    ("Pause all", re.compile("Pause [0-9]+"), lambda _: "/schedules", ".toast", "paused"),
    ("Resume all", re.compile("Resume [0-9]+"), some_paused, ".toast", "resumed"),
    ("Kill all of these", re.compile("Kill [0-9]+"), many_runs, ".toast", "killed"),
    ("Run now", "Run", lambda _: "/jobs/talks", ".timeline", "ACCEPTED"),
]


@pytest.mark.parametrize(
    ("name", "answer", "prepare", "place", "said"),
    ACTIONS,
    ids=[f"{action[0]} {number}" for number, action in enumerate(ACTIONS)],
)
@needs_chromium
def test_each_action_is_done_with_the_keyboard_alone(
    operator, stage, schedules, name, answer, prepare, place, said
):
    operator.goto(f"{stage.dispatcher}/console{prepare(stage)}")
    act(operator, name, answer)
    expect(operator.locator(place).last).to_contain_text(said, timeout=60_000)


PAGES = [
    "",
    "/invocations",
    "/invocations/{ended}",
    "/sessions",
    "/jobs",
    "/jobs/talks",
    "/schedules",
    "/schedules/weekly",
    "/apps",
    "/apps/listings",
    "/hosts",
    "/hosts/{host}",
    "/assignments",
    "/audit",
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@needs_axe
@needs_chromium
def test_each_page_is_accessible_and_fits_a_phone(
    browser: Browser, stage: RunningCloud, ended: str, schedules: list[str], theme: str
) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=theme)
    try:
        page = context.new_page()
        watch = PageWatch(page)
        show_groups_and_drains(page)
        sign_in(page, stage)
        host = stage.http("GET", "/hosts", None, as_("vic"))[1]["hosts"][0]["id"]
        for path in PAGES:
            page.goto(f"{stage.dispatcher}/console{path.format(ended=ended, host=host)}")
            expect(page.locator("main h1")).to_be_visible()
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            expect(page.locator("#nav [aria-current=page]")).to_be_in_viewport(ratio=0.9)
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
