"""The whole path in a real browser: one GET, a container of its own, records, its end."""

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

from local.feed.listings import demo_records
from tests.integration.conftest import ROOT, RunningCloud, wait_until
from tests.integration.sessions import kill_container
from tests.needs import needs_chromium

FEEDS = {"redis": "fan-out", "direct": "direct"}


def feed(cloud: RunningCloud, file: Path) -> None:
    command = [sys.executable, "-m", "local", "feed", str(file), "--endpoint", cloud.aws]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


def live_sessions(cloud: RunningCloud) -> list[str]:
    return [task["taskArn"] for task in cloud.tasks()]


@needs_chromium
def test_a_visitor_gets_a_container_watches_records_and_leaves(page, watch, cloud, tmp_path):
    records = demo_records(300, seed=5)
    file = tmp_path / "updates.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))

    page.goto(cloud.ready["page"])
    expect(page.locator("#pill-text")).to_have_text("Live", timeout=30_000)
    expect(page.locator("#fact-feed")).to_have_text(FEEDS[cloud.ready["feed"]])
    tasks = live_sessions(cloud)
    assert len(tasks) == 1
    address = page.locator("#address").inner_text()
    assert address.startswith("127.0.0.1:")

    feed(cloud, file)
    expect(page.locator("#figure-records")).to_have_text("300")
    places = {record["id"] for record in records}
    expect(page.locator("#figure-places")).to_have_text(str(len(places)))
    assert page.locator("#rows li").first.get_attribute("data-id") in places

    page.get_by_role("button", name="Disconnect").click()
    expect(page.locator("#notice-title")).to_have_text("You have left.")
    wait_until(lambda: live_sessions(cloud) == [], what="the end of the task")

    feed(cloud, file)  # while no client is connected
    page.get_by_role("button", name="Resume where I left").click()
    expect(page.locator("#figure-records")).to_have_text("600", timeout=30_000)
    assert page.locator("#address").inner_text() != address
    assert set(tasks).isdisjoint(live_sessions(cloud))

    page.close()
    wait_until(lambda: live_sessions(cloud) == [], what="the end of the second task")
    assert watch.complaints == []


@needs_chromium
def test_a_container_that_is_killed_is_said_and_another_one_can_be_had(page, cloud):
    page.goto(cloud.ready["page"])
    expect(page.locator("#pill-text")).to_have_text("Live", timeout=30_000)
    [task] = live_sessions(cloud)
    cloud.client("ecs").stop_task(cluster="usher-local", task=task)
    expect(page.locator("#notice-title")).to_have_text("Your container said goodbye.")
    expect(page.locator("#notice-text code")).to_have_text("stopped")
    page.get_by_role("button", name="Start fresh").click()
    expect(page.locator("#pill-text")).to_have_text("Live", timeout=30_000)
    assert live_sessions(cloud) != [task]


@needs_chromium
def test_a_container_that_dies_is_replaced_and_nothing_is_missing(page, cloud, tmp_path):
    file = tmp_path / "updates.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in demo_records(100, seed=6)))
    page.goto(cloud.ready["page"])
    expect(page.locator("#pill-text")).to_have_text("Live", timeout=30_000)
    feed(cloud, file)
    expect(page.locator("#figure-records")).to_have_text("100")
    [task] = live_sessions(cloud)
    kill_container(page.locator("#fact-id").get_attribute("title"))
    feed(cloud, file)  # while no client is connected
    expect(page.locator("#notice-title")).to_have_text("You are connected again.", timeout=30_000)
    expect(page.locator("#figure-records")).to_have_text("200")
    wait_until(lambda: task not in live_sessions(cloud), what="the end of the first task")
