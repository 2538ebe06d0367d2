"""The page in a real browser, against a dispatcher and a container that fail as each test sets."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from local.feed.listings import demo_updates
from tests.browser.fakes import Answer, FakeContainer, FakeDispatcher
from tests.browser.watched import PageWatch
from tests.needs import needs_chromium


def updates(count: int) -> list[dict[str, Any]]:
    return list(islice(demo_updates(seed=1), count))


def open_live(page: Page, dispatcher: FakeDispatcher, container: FakeContainer) -> None:
    page.goto(dispatcher.page)
    expect(page.locator("#pill-text")).to_have_text("Live")
    assert container.connected.wait(5)


def error(status: int, code: str, message: str, **headers: str) -> Answer:
    body = {"error": {"code": code, "message": message}}
    return Answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


@needs_chromium
def test_shows_the_container_and_its_records(page, watch, dispatcher, container):
    open_live(page, dispatcher, container)
    container.send_records(updates(50))
    expect(page.locator("#figure-records")).to_have_text("50")
    expect(page.locator("#address")).to_have_text(f"127.0.0.1:{container.port}")
    expect(page.locator("#fact-id")).to_have_text(container.id[:8])
    expect(page.locator("#fact-revision")).to_have_text("7")
    expect(page.locator("#fact-start")).to_have_text("cold")
    expect(page.locator("#fact-first")).to_contain_text(re.compile(r"\d m?s"))
    expect(page.locator("#figure-latency")).to_contain_text(re.compile(r"\d m?s"))
    expect(page.locator("#rows li").first).to_contain_text(updates(50)[-1]["address"])
    expect(page.locator("#legend")).to_contain_text("new")
    assert watch.complaints == []


@needs_chromium
def test_each_attempt_has_a_key_of_its_own_and_names_the_app(page, dispatcher, container):
    page.goto(dispatcher.page + "?app=listings")
    expect(page.locator("#pill-text")).to_have_text("Live")
    button(page, "Disconnect").click()
    button(page, "Start fresh").click()
    expect(page.locator("#fact-id")).to_have_text(container.id[:8])
    first, second = dispatcher.asked[:2]
    assert first[1]["app"] == ["listings"]
    assert 0 < int(first[1]["wait"][0]) <= 25
    assert first[2]["Idempotency-Key"] != second[2]["Idempotency-Key"]


@pytest.mark.parametrize("path", ["/api/", "/api"])
@needs_chromium
def test_works_below_a_stage(page, watch, container, path):
    dispatcher = FakeDispatcher(prefix=path)
    try:
        starting = {"id": container.id, "state": "STARTING", "retryAfter": 0.1}
        dispatcher.answers = [Answer(202, starting), Answer(200, container.session())]
        open_live(page, dispatcher, container)
        assert [asked[0] for asked in dispatcher.asked] == ["/session", f"/sessions/{container.id}"]
        assert watch.complaints == []
    finally:
        dispatcher.close()


@needs_chromium
def test_a_202_is_shown_and_polled_until_there_is_an_address(page, watch, dispatcher, container):
    location = {"Location": f"/sessions/{container.id}", "Retry-After": "1"}
    queued = {"id": container.id, "state": "QUEUED", "retryAfter": 0.2}
    starting = {"id": container.id, "state": "STARTING", "retryAfter": 0.2}
    dispatcher.answers = [Answer(202, queued, location)]
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text("You are in the queue …")
    expect(page.locator("#steps [aria-current=step]")).to_have_text("Queue")
    dispatcher.answers = [Answer(200, starting)]
    expect(page.locator("#notice-title")).to_have_text("Your container is starting …")
    dispatcher.answers = [Answer(200, container.session())]
    expect(page.locator("#pill-text")).to_have_text("Live")
    assert watch.complaints == []


@needs_chromium
def test_a_session_that_ends_in_the_queue_says_why(page, dispatcher, container):
    queued = {"id": container.id, "state": "QUEUED", "retryAfter": 0.1}
    over = {"id": container.id, "state": "ENDED", "reason": "queue_timeout"}
    dispatcher.answers = [Answer(202, queued), Answer(200, over)]
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text("There is no container for you this time.")
    expect(page.locator("#notice-text")).to_contain_text("no room for a container in time")
    expect(button(page, "Ask again")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (429, "Too many sessions at once."),
        (503, "No container can be had right now."),
    ],
)
@needs_chromium
def test_a_busy_dispatcher_is_asked_again_when_it_said(page, dispatcher, container, status, title):
    dispatcher.answers = [error(status, "busy", "All seats are taken.", Retry_After="2")]
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text(title)
    expect(page.locator("#notice-text")).to_contain_text("All seats are taken. Trying again in")
    assert len(dispatcher.asked) == 1
    dispatcher.answers = [Answer(200, container.session())]
    expect(page.locator("#pill-text")).to_have_text("Live")
    keys = {headers["Idempotency-Key"] for _, _, headers in dispatcher.asked}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (400, "The dispatcher did not understand the request."),
        (401, "The dispatcher wants to know who you are."),
        (403, "The dispatcher does not allow this."),
        (500, "The dispatcher has a problem."),
    ],
)
@needs_chromium
def test_other_refusals_are_said_in_words_and_not_repeated(page, dispatcher, status, title):
    dispatcher.answers = [error(status, "a_code", "The app has no such name.")]
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text(title)
    expect(page.locator("#notice-text")).to_have_text("The app has no such name. a_code")
    expect(button(page, "Ask again")).to_be_visible()
    assert len(dispatcher.asked) == 1


@needs_chromium
def test_a_session_that_is_no_longer_wanted_is_given_back(page, dispatcher, container):
    dispatcher.answers = [Answer(202, {"id": container.id, "state": "QUEUED", "retryAfter": 30})]
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text("You are in the queue …")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        button(page, "Cancel").click()
    assert dispatcher.deleted == [f"/sessions/{container.id}"]
    expect(page.locator("#pill-text")).to_have_text("Disconnected")


@needs_chromium
def test_waiting_can_be_cancelled(page, dispatcher):
    dispatcher.answers = [error(503, "no_capacity", "Full.", Retry_After="30")]
    page.goto(dispatcher.page)
    button(page, "Cancel").click()
    expect(page.locator("#pill-text")).to_have_text("Disconnected")
    expect(button(page, "Connect again")).to_be_visible()


@needs_chromium
def test_a_dispatcher_that_is_down_is_tried_again(page, dispatcher, container):
    page.route("**/session?*", lambda route: route.abort("connectionrefused"))
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text("The dispatcher does not answer.")
    expect(page.locator("#notice-text")).to_contain_text("Trying again in")
    page.unroute("**/session?*")
    expect(page.locator("#pill-text")).to_have_text("Live")


@needs_chromium
def test_a_container_that_does_not_answer_is_said(page, dispatcher, container):
    gone = container.session(port=9, url=f"ws://127.0.0.1:9/{container.uuid}")
    dispatcher.answers = [Answer(200, gone)]
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text("Your container does not answer.")
    expect(page.locator("#notice-text")).to_contain_text("127.0.0.1:9")
    expect(button(page, "Ask again")).to_be_visible()


@needs_chromium
def test_a_container_that_vanishes_is_replaced_and_no_update_is_shown_twice(
    page, watch, dispatcher, container, second
):
    open_live(page, dispatcher, container)
    container.send_records(updates(5))
    expect(page.locator("#figure-records")).to_have_text("5")
    dispatcher.answers = [Answer(202, {"id": second.id, "state": "STARTING", "retryAfter": 30})]
    container.vanish()
    expect(page.locator("#pill-text")).to_have_text("Reconnecting")
    expect(page.locator("#notice-title")).to_have_text("Reconnecting …")
    expect(page.locator("#notice-text")).to_contain_text("without a goodbye")
    expect(page.locator("#notice-text")).to_contain_text("Another one is starting for you.")
    expect(page.locator("#stamp")).to_have_text("lost")
    dispatcher.answers = [Answer(200, second.session())]
    page.evaluate("dispatchEvent(new Event('pageshow'))")  # the device resumes: no more waiting
    expect(page.locator("#notice-title")).to_have_text("You are connected again.")
    expect(page.locator("#address")).to_have_text(f"127.0.0.1:{second.port}")
    expect(page.locator("#stamp")).to_be_hidden()
    assert second.cursors == ["at-5"]
    second.send_records(updates(8)[5:])
    expect(page.locator("#figure-records")).to_have_text("8")
    keys = [
        headers["Idempotency-Key"] for path, _, headers in dispatcher.asked if path == "/session"
    ]
    assert len(keys) == len(set(keys)) == 2
    # The browser itself logs refused connections; those lines are not errors of the page.
    assert [said for said in watch.complaints if "WebSocket connection" not in said] == []


@needs_chromium
def test_a_short_drop_keeps_the_container(page, dispatcher, container):
    container.grace = True
    open_live(page, dispatcher, container)
    container.send_records(updates(5))
    expect(page.locator("#figure-records")).to_have_text("5")
    container.vanish()
    expect(page.locator("#notice-title")).to_have_text("You are connected again.")
    expect(page.locator("#fact-id")).to_have_text(container.id[:8])
    assert container.cursors == [None, "at-5"]
    assert len(dispatcher.asked) == 1


@pytest.mark.parametrize(("seconds", "connections"), [(20, 1), (60, 2)])
@needs_chromium
def test_a_page_that_was_frozen_for_long_opens_its_connection_again(
    page, dispatcher, container, seconds, connections
):
    """After a shorter break the container still has the client: records sent in between are
    there.
    """
    container.grace = True
    open_live(page, dispatcher, container)
    container.send_records(updates(5))
    expect(page.locator("#figure-records")).to_have_text("5")
    page.evaluate("document.dispatchEvent(new Event('freeze'))")
    page.evaluate(
        "seconds => { const now = Date.now; Date.now = () => now() + seconds * 1000; }", seconds
    )
    page.evaluate("document.dispatchEvent(new Event('resume'))")
    if connections > 1:
        expect(page.locator("#notice-title")).to_have_text("You are connected again.")
    container.send_records(updates(8)[5:])
    expect(page.locator("#figure-records")).to_have_text("8")
    assert container.cursors == [None, "at-5"][:connections]
    assert len(dispatcher.asked) == 1


@needs_chromium
def test_a_page_that_is_left_leaves_its_container_and_comes_back_to_it(page, dispatcher, container):
    container.grace = True
    open_live(page, dispatcher, container)
    container.send_records(updates(5))
    expect(page.locator("#figure-records")).to_have_text("5")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    expect(page.locator("#pill-text")).not_to_have_text("Live")
    assert container.cursors == [None]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("#notice-title")).to_have_text("You are connected again.")
    assert container.cursors == [None, "at-5"]
    assert len(dispatcher.asked) == 1


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("slow_client", 1013, "read more slowly"),
        ("feed_failed", 1011, "could not read the feed"),
        ("drained", 1001, "made room for a new one"),
    ],
)
@needs_chromium
def test_a_goodbye_for_the_containers_own_sake_leads_to_another(
    page, dispatcher, container, second, reason, code, words
):
    open_live(page, dispatcher, container)
    dispatcher.answers = [error(503, "no_capacity", "Full.", Retry_After="30")]
    container.bye(reason, code)
    expect(page.locator("#pill-text")).to_have_text("Reconnecting")
    expect(page.locator("#notice-text")).to_contain_text(words)
    expect(page.locator("#notice-title")).to_have_text("No container can be had right now.")
    dispatcher.answers = [Answer(200, second.session())]
    button(page, "Try now").click()
    expect(page.locator("#notice-title")).to_have_text("You are connected again.")
    expect(page.locator("#address")).to_have_text(f"127.0.0.1:{second.port}")


@needs_chromium
def test_a_refusal_while_reconnecting_ends_it_and_leaves_the_way_back(page, dispatcher, container):
    open_live(page, dispatcher, container)
    container.send_records(updates(5))
    expect(page.locator("#figure-records")).to_have_text("5")
    dispatcher.answers = [error(403, "forbidden", "Not any more.")]
    container.vanish()
    expect(page.locator("#notice-title")).to_have_text("The dispatcher does not allow this.")
    expect(button(page, "Resume where I left")).to_be_visible()


@needs_chromium
def test_reconnecting_can_be_given_up(page, dispatcher, container, second):
    open_live(page, dispatcher, container)
    dispatcher.answers = [Answer(202, {"id": second.id, "state": "QUEUED", "retryAfter": 30})]
    container.vanish()
    expect(page.locator("#notice-text")).to_contain_text("You are in the queue for another one.")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        button(page, "Disconnect").click()
    assert dispatcher.deleted == [f"/sessions/{second.id}"]
    expect(page.locator("#notice-title")).to_have_text("You have left.")


@pytest.mark.parametrize(
    ("feed", "words"), [("redis", "fan-out"), ("kinesis", "direct"), (None, "none")]
)
@needs_chromium
def test_the_ticket_says_which_feed_it_is(page, dispatcher, container, feed, words):
    container.feed = feed
    open_live(page, dispatcher, container)
    expect(page.locator("#fact-feed")).to_have_text(words)


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("expired", 1000, "maximum lifetime"),
        ("stopped", 1001, "asked to stop"),
        ("app_failed", 1011, "Only you were affected"),
    ],
)
@needs_chromium
def test_a_final_goodbye_says_its_reason(page, dispatcher, container, reason, code, words):
    open_live(page, dispatcher, container)
    container.bye(reason, code)
    expect(page.locator("#notice-title")).to_have_text("Your container said goodbye.")
    expect(page.locator("#notice-text")).to_contain_text(words)
    expect(page.locator("#notice-text code")).to_have_text(reason)
    assert len(dispatcher.asked) == 1


@needs_chromium
def test_a_gap_is_said(page, dispatcher, container):
    open_live(page, dispatcher, container)
    container.say({"type": "gap", "shards": ["shardId-000000000001"], "cursor": "at-3"})
    expect(page.locator("#notice-title")).to_have_text("Some updates are missing.")
    expect(page.locator("#notice-text")).to_contain_text("shardId-000000000001")


@needs_chromium
def test_going_offline_is_said_and_leaves_a_way_out(page, dispatcher, container):
    container.grace = True
    open_live(page, dispatcher, container)
    page.context.set_offline(True)
    expect(page.locator("#notice-title")).to_have_text("This device is offline.")
    page.context.set_offline(False)
    expect(page.locator("#pill-text")).to_have_text("Live")


@needs_chromium
def test_resumes_in_another_container_where_it_left(page, dispatcher, container, second):
    open_live(page, dispatcher, container)
    container.send_records(updates(20))
    expect(page.locator("#figure-records")).to_have_text("20")
    button(page, "Disconnect").click()
    expect(page.locator("#notice-title")).to_have_text("You have left.")
    assert container.ended.wait(5)
    dispatcher.answers = [Answer(200, second.session())]
    button(page, "Resume where I left").click()
    expect(page.locator("#address")).to_have_text(f"127.0.0.1:{second.port}")
    assert second.connected.wait(5)
    assert second.cursors == ["at-20"]
    expect(page.locator("#rows li")).to_have_count(20)  # what was seen stays


@needs_chromium
def test_starts_fresh_in_another_container(page, dispatcher, container, second):
    open_live(page, dispatcher, container)
    container.send_records(updates(20))
    expect(page.locator("#rows li")).to_have_count(20)
    button(page, "Disconnect").click()
    dispatcher.answers = [Answer(200, second.session())]
    button(page, "Start fresh").click()
    expect(page.locator("#address")).to_have_text(f"127.0.0.1:{second.port}")
    assert second.connected.wait(5)
    assert second.cursors == [None]
    expect(page.locator("#rows li")).to_have_count(0)


@needs_chromium
def test_closing_the_tab_leaves_the_container(page, dispatcher, container):
    open_live(page, dispatcher, container)
    page.close()
    assert container.ended.wait(5)


@needs_chromium
def test_twenty_thousand_records_stay_within_bounds(page, watch, dispatcher, container):
    open_live(page, dispatcher, container)
    source = demo_updates(seed=2)
    for _ in range(40):
        container.send_records(islice(source, 500))
    expect(page.locator("#figure-records")).to_have_text("20,000", timeout=30_000)
    assert page.locator("#rows > *").count() <= 200
    assert page.evaluate("document.querySelectorAll('*').length") < 2000
    expect(page.locator("#rows")).to_contain_text("more went by")
    button(page, "Disconnect").click()  # it still obeys
    expect(page.locator("#pill-text")).to_have_text("Disconnected")
    assert watch.complaints == []


@needs_chromium
def test_any_json_is_shown(page, watch, dispatcher, container):
    open_live(page, dispatcher, container)
    container.send_records(
        [{"id": "x-1", "temperature": 21.5}, {"name": "<b>bold</b>", "price": None}]
    )
    expect(page.locator("#figure-records")).to_have_text("2")
    expect(page.locator("#rows li").first).to_contain_text("<b>bold</b>")
    expect(page.locator("#rows li").nth(1)).to_contain_text('"temperature":21.5')
    expect(page.locator("#hush")).to_contain_text("no latitude and longitude")
    for data in (None, 7, "text", [1, 2], {"base64": "AAE="}):
        record = {
            "data": data,
            "partitionKey": "k",
            "sequenceNumber": "9",
            "arrivedAt": "2026-01-01T00:00:00Z",
        }
        container.say({"type": "records", "records": [record], "cursor": "c"})
    expect(page.locator("#figure-records")).to_have_text("7")
    assert watch.complaints == []


@needs_chromium
def test_the_list_can_be_held_and_the_dots_coloured_by_price(page, dispatcher, container):
    open_live(page, dispatcher, container)
    container.send_records(updates(10))
    expect(page.locator("#rows li")).to_have_count(10)
    button(page, "Hold").click()
    container.send_records(updates(12)[10:])
    expect(page.locator("#figure-records")).to_have_text("12")
    expect(page.locator("#rows li")).to_have_count(10)
    button(page, "Hold").click()
    expect(page.locator("#rows li")).to_have_count(12)
    button(page, "Price").click()
    expect(page.locator("#legend")).to_contain_text("below")


@pytest.fixture(params=["light", "dark"])
def phone(browser: Browser, request) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        color_scheme=request.param,
        reduced_motion="reduce",
    )
    yield context.new_page()
    context.close()


@needs_chromium
def test_a_phone_scrolls_in_one_direction_only(phone, dispatcher, container):
    watch = PageWatch(phone)
    open_live(phone, dispatcher, container)
    container.send_records(updates(300))
    expect(phone.locator("#figure-records")).to_have_text("300")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("Disconnect", "Hold", "Price"):
        assert button(phone, name).bounding_box()["height"] >= 36
    assert watch.complaints == []


@needs_chromium
def test_a_picture_of_dots_is_drawn(page, dispatcher, container):
    open_live(page, dispatcher, container)
    blank = page.locator("#map").screenshot()
    container.send_records(updates(200))
    expect(page.locator("#figure-places")).not_to_have_text("0")
    page.wait_for_function(
        """() => {
            const map = document.querySelector("#map");
            const pixels = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
            let drawn = 0;
            for (let at = 3; at < pixels.length; at += 4) drawn += pixels[at] > 200;
            return drawn > 500;
        }"""
    )
    assert page.locator("#map").screenshot() != blank


@needs_chromium
def test_a_page_that_lacks_a_part_says_so(page, dispatcher):
    page.route("**/demo/rows.js", lambda route: route.abort("connectionreset"))
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text(
        "This page is incomplete. Please load it again."
    )


@needs_chromium
def test_requests_that_the_browser_breaks_off_are_sent_again(page, dispatcher, container):
    """Chromium aborts all requests in progress when a network interface is added or removed."""
    broken: set[str] = set()

    def break_off_once(route: Route) -> None:
        url = route.request.url.partition("#")[0]
        if url in broken:
            route.continue_()
        else:
            broken.add(url)
            route.abort("connectionaborted")

    for pattern in ("**/demo/words.js", "**/session?*", "**/client.js"):
        page.route(pattern, break_off_once)
    open_live(page, dispatcher, container)
    assert len(broken) == 3


@needs_chromium
def test_a_websocket_that_does_not_open_is_tried_again(page, dispatcher, container):
    container.refuse_connections(2)
    open_live(page, dispatcher, container)


@needs_chromium
def test_a_container_that_lets_nobody_in_is_said_and_another_one_asked_for(
    page, dispatcher, container, second
):
    container.refuse_connections(100)
    page.goto(dispatcher.page)
    expect(page.locator("#notice-title")).to_have_text("Your container closed the connection.")
    expect(page.locator("#notice-text")).to_contain_text("Trying again in")
    dispatcher.answers = [Answer(200, second.session())]
    expect(page.locator("#pill-text")).to_have_text("Live")
    expect(page.locator("#address")).to_have_text(f"127.0.0.1:{second.port}")
