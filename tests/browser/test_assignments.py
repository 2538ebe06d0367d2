"""The learner's page in a real browser, over a cloud that marks the example assignment."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, Route, expect

from tests import emulators
from tests.browser.console_stage import HOSTILE, KEYS, as_, launch_stage
from tests.browser.watched import PageWatch
from tests.integration.conftest import ROOT, RunningCloud, finish, wait_until
from tests.needs import needs_axe, needs_bubblewrap, needs_chromium

AXE = emulators.FOLDER / "node_modules" / "axe-core" / "axe.min.js"
EXAMPLE = ROOT / "examples" / "graders" / "anagrams"
PHONE = {"width": 375, "height": 800}
RTL = "حل مبرمج"
PENDING = "sessionStorage.getItem('usher-upload')"
MARKED_MS = 60_000
WHOLE = """
pass_points = 80
title = %s

[parts.anagrams]
title = %s
points = 100
grader = "anagrams"
"""
BROKEN_CHECKER = "import sys\nsys.exit(3)\n"


def solution(name: str) -> Path:
    return EXAMPLE / "solutions" / f"{name}.py"


def texts_of(folder: Path, prefix: str = "") -> dict[str, str]:
    """The files of the grader alone: each test makes an assignment of its own around it."""
    return {
        f"{prefix}{path.name}": path.read_text("utf-8")
        for path in folder.iterdir()
        if path.is_file() and path.name != "assignment.toml"
    }


def put(cloud: RunningCloud, assignment: str, files: dict[str, str]) -> None:
    status, said = cloud.http("PUT", f"/assignments/{assignment}", {"files": files}, as_("opal"))
    assert status == 201, said


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    cloud = launch_stage(
        tmp_path_factory.mktemp("assignments") / "run", host_cpu=2048, host_memory=4096
    )
    try:
        for assignment, title, part in (
            ("anagrams", "anagrams", "anagrams"),
            ("strange", f"{HOSTILE} {RTL}", f"{RTL} {HOSTILE}"),
        ):
            text = WHOLE % (
                json.dumps(title, ensure_ascii=False),
                json.dumps(part, ensure_ascii=False),
            )
            put(cloud, assignment, {"assignment.toml": text, **texts_of(EXAMPLE, "anagrams/")})
        broken = texts_of(EXAMPLE) | {"check.py": BROKEN_CHECKER}
        broken["grader.toml"] = broken["grader.toml"].replace('"lines"', '{program = "check.py"}')
        put(cloud, "broken", broken)
        yield cloud
    finally:
        finish(cloud)


def sign_in(page: Page, stage: RunningCloud, path: str, who: str = HOSTILE) -> None:
    page.goto(f"{stage.dispatcher}{path}")
    page.get_by_label("API key").fill(KEYS[who])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who")).to_contain_text(who)


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def given(name: str, text: bytes | None = None) -> dict[str, Any]:
    """A file to choose, as `main.py`."""
    data = solution(name).read_bytes() if text is None else text
    return {"name": "main.py", "mimeType": "text/x-python", "buffer": data}


def choose(page: Page, file: dict[str, Any]) -> None:
    page.get_by_label("Choose files").set_input_files(file)
    expect(page.locator(".chosen")).to_contain_text(file["name"])


def hidden_texts() -> list[str]:
    """Returns texts that only the author may see: inputs and answers of the hidden cases."""
    cases = tomllib.loads((EXAMPLE / "grader.toml").read_text("utf-8"))["cases"]
    hidden = [case for case in cases if case.get("visibility") != "visible"]
    texts = [
        (EXAMPLE / case[key]).read_text("utf-8") for case in hidden for key in ("input", "answer")
    ]
    assert len(texts) == 4
    return [max(text.splitlines(), key=len)[:60] for text in texts]


@needs_chromium
@needs_bubblewrap
def test_a_learner_fails_mends_and_passes_and_sees_nothing_of_hidden_cases(
    page: Page, watch: PageWatch, stage: RunningCloud
) -> None:
    said: list[Response] = []

    def keep(response: Response) -> None:
        said.append(response)

    page.on("response", keep)
    sign_in(page, stage, "/assignments")
    page.get_by_role("link", name="anagrams").click()
    expect(page.locator(".standing")).to_contain_text("You must earn 80 of 100 points to pass.")
    button(page, "Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose at least one file")
    choose(page, given("wrong"))
    button(page, "Submit").click()
    panel = page.locator(".submission")
    expect(panel.locator(".mark")).to_contain_text("Wrong answer", timeout=MARKED_MS)
    expect(page.locator("main [role=status].unseen")).to_contain_text("Marked. Wrong answer.")
    rows = panel.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text(re.compile(r"of 2 s.*of 128 MiB", re.DOTALL))
    rows.first.get_by_text("Input and output").click()
    expect(rows.first.locator("pre").first).to_contain_text("listen silent")
    expect(rows.nth(1).locator("details")).to_have_count(0)
    expect(panel).to_contain_text("Of hidden cases the verdict")
    expect(page.locator(".standing")).to_contain_text("Not passed yet")
    first = page.url
    choose(page, given("right"))
    button(page, "Submit").click()
    expect(panel.locator(".mark")).to_contain_text("100 of 100 points", timeout=MARKED_MS)
    expect(page.locator(".standing")).to_contain_text("Passed")
    assert page.url != first
    history = page.locator("main > .scroll tbody tr")
    expect(history).to_have_count(2)
    history.nth(1).get_by_role("button").click()
    expect(panel.locator(".mark")).to_contain_text("Wrong answer")
    expect(page.locator(".standing")).to_contain_text("100 of 100 points")
    bodies = [one.text() for one in said if one.ok and "/files/" not in one.url]
    assert len(bodies) > 5
    for secret in hidden_texts():
        assert secret not in page.content()
        assert not [body for body in bodies if secret in body or json.dumps(secret)[1:-1] in body]
    assert "owned" not in page.title()
    assert watch.complaints == []


def submissions(stage: RunningCloud, assignment: str, who: str = HOSTILE) -> list[dict[str, Any]]:
    status, found = stage.http("GET", f"/assignments/{assignment}/submissions", None, as_(who))
    assert status == 200, found
    rows: list[dict[str, Any]] = found["submissions"]
    return rows


@needs_chromium
@needs_bubblewrap
def test_files_are_dropped_on_a_part_or_chosen_with_the_keyboard_alone(
    page: Page, watch: PageWatch, stage: RunningCloud
) -> None:
    sign_in(page, stage, "/learn/strange")
    expect(page.locator("h1")).to_contain_text(f"{HOSTILE} {RTL}")
    dropped = page.evaluate_handle(
        """([names, text]) => {
          const data = new DataTransfer();
          for (const name of names) data.items.add(new File([text], name));
          return data;
        }""",
        [["main.py", f"{HOSTILE} {RTL}.py"], solution("right").read_text("utf-8")],
    )
    for kind in ("dragover", "drop"):
        page.dispatch_event("body", kind, {"dataTransfer": dropped})
    expect(page.locator(".chosen li")).to_have_count(0)
    page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
    expect(page.locator(".chosen li")).to_have_count(2)
    expect(page.locator(".chosen li").nth(1)).to_contain_text(HOSTILE)
    button(page, "Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("anagrams: ")
    page.get_by_role("button", name="Take").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".chosen li")).to_have_count(1)
    page.get_by_role("button", name="Take").first.focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Choose files")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(given("right"))
    expect(page.locator(".chosen li")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(button(page, "Submit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".mark")).to_contain_text("100 of 100 points", timeout=MARKED_MS)
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()
    assert watch.complaints == [
        one
        for one in watch.complaints
        if "status of 400" in one  # the refused submission
    ]


@needs_chromium
@needs_bubblewrap
def test_a_reload_during_marking_shows_it_going_on_and_a_finished_page_asks_nothing(
    page: Page, stage: RunningCloud
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, stage, "/assignments/anagrams")
    choose(page, given("slow"))
    button(page, "Submit").click()
    expect(page.locator(".under-way")).to_be_visible()
    page.reload()
    expect(page.locator(".under-way")).to_contain_text(
        re.compile("Case [1-3] of 3"), timeout=MARKED_MS
    )
    expect(page.locator(".mark")).to_contain_text("Over the time limit", timeout=MARKED_MS)
    page.clock.install()
    page.reload()
    expect(page.locator(".mark")).to_be_visible()
    page.wait_for_load_state("networkidle")
    before = len(asked)
    page.clock.fast_forward(600_000)
    page.evaluate("0")
    assert len(asked) == before, "everything is marked: there is nothing to ask for"


@needs_chromium
@needs_bubblewrap
def test_an_upload_without_a_network_or_whose_answer_is_lost_is_repeated_and_counts_once(
    page: Page, stage: RunningCloud
) -> None:
    keys: list[str] = []

    def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()  # it arrives, and the answer does not
        if len(keys) <= 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    before = len(submissions(stage, "strange"))
    page.route(re.compile(r"/submissions\?view=learner$"), lose)
    sign_in(page, stage, "/assignments/strange")
    choose(page, given("right"))
    button(page, "Submit").click()
    expect(page.locator(".upload [role=status]")).to_contain_text("sent again")
    page.reload()
    wait_until(
        lambda: page.locator(".mark, .under-way").count() > 0, 60, "the submission", every=0.1
    )
    wait_until(lambda: page.evaluate(PENDING) is None, 60, "the upload", every=0.1)
    assert len(keys) >= 3
    assert len(set(keys)) == 1
    assert len(submissions(stage, "strange")) == before + 1


@needs_chromium
@needs_bubblewrap
def test_an_author_sees_failures_and_verdicts_by_case_and_marks_again(
    page: Page, watch: PageWatch, stage: RunningCloud
) -> None:
    body = {"parts": {"broken": {"files": {"main.py": solution("right").read_text("utf-8")}}}}
    for assignment in ("broken", "counted"):
        if assignment == "counted":
            put(stage, assignment, texts_of(EXAMPLE))
        parts = {assignment: body["parts"]["broken"]}
        status, made = stage.http(
            "POST", f"/assignments/{assignment}/submissions", {"parts": parts}, as_(HOSTILE)
        )
        assert status == 202, made
        wait_until(
            lambda made=made: (
                stage.http("GET", f"/submissions/{made['id']}", None, as_(HOSTILE))[1]["state"]
                == "FINISHED"
            ),
            60,
            "marked",
            every=0.2,
        )
    sign_in(page, stage, "/assignments/broken", "opal")
    page.get_by_text("For the author").click()
    failures = page.get_by_role("table", name="Failures of the grader")
    expect(failures).to_contain_text("checker")
    expect(failures).to_contain_text(HOSTILE)
    failures.get_by_role("button").click()
    expect(page.locator(".submission")).to_contain_text("The grader failed")
    page.goto(f"{stage.dispatcher}/assignments/counted")
    page.get_by_text("For the author").click()
    expect(page.get_by_role("table", name="Verdicts by case").locator("tbody tr")).to_have_count(3)
    expect(page.get_by_role("table", name="Verdicts by case")).to_contain_text("AC 1")
    button(page, "Mark all again").click()
    expect(page.get_by_role("dialog")).to_contain_text("the gradings before are kept")
    button(page.get_by_role("dialog"), "Mark all again").click()
    expect(page.locator(".toast", has_text="marked again: 1")).to_be_visible()
    assert stage.http("GET", "/assignments/counted/statistics", None, as_(HOSTILE))[0] == 403
    page.goto(f"{stage.dispatcher}/console/assignments")
    page.get_by_role("link", name="counted", exact=True).click()
    expect(page.locator("tbody tr")).to_contain_text(HOSTILE)
    page.get_by_role("link", name="Home").click()
    page.get_by_role("searchbox").fill(made["id"])
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("counted: AC")
    learner = quote(f"api_key:{HOSTILE}", safe="")
    assert page.url.endswith(f"/console/assignments/counted?learner={learner}")
    # The page looks for the id among invocations and sessions, too: those requests return 404.
    assert [said for said in watch.complaints if "404" not in said] == []


@needs_chromium
@needs_bubblewrap
def test_images_that_cannot_be_used_are_explained_to_the_author_alone(
    page: Page, watch: PageWatch, stage: RunningCloud
) -> None:
    text = 'kind = "image"\nimage = "127.0.0.1:1/none:1"\nfiles = ["main.py"]\n'
    put(stage, "imaged", {"grader.toml": text})
    sign_in(page, stage, "/assignments/imaged")
    expect(page.get_by_text("so nothing can be handed in. Its author")).to_be_visible(
        timeout=60_000
    )
    expect(button(page, "Prepare it again")).to_have_count(0)
    expect(button(page, "Submit")).to_have_count(0)
    page.context.clear_cookies()
    page.evaluate("sessionStorage.clear()")
    sign_in(page, stage, "/assignments/imaged", "opal")
    expect(page.get_by_label("The grader's image")).to_contain_text("part imaged:")
    button(page, "Prepare it again").click()
    button(page.get_by_role("dialog"), "Prepare it again").click()
    expect(page.locator(".toast", has_text="It is being prepared.")).to_be_visible()
    assert watch.complaints == []


NOTICES = (
    (
        "PREPARING",
        False,
        "The grader is being prepared. What you hand in now is marked after that.",
    ),
    ("FAILED", False, "The grader cannot be used now, so nothing can be handed in."),
    ("FAILED", True, "The image of the grader cannot be used, so nothing can be handed in:"),
)


@needs_axe
@needs_chromium
@needs_bubblewrap
def test_the_notices_about_images_are_accessible_to_learners_and_authors(
    page: Page, watch: PageWatch, stage: RunningCloud
) -> None:
    def prepared(route: Route) -> None:
        if route.request.resource_type != "fetch":
            route.continue_()
            return
        answer = route.fetch()
        body = answer.json()
        preparation = {"state": state, "reason": HOSTILE, "images": {}, "changedAt": None}
        for assignment in body.get("assignments", [body]):
            assignment.update(preparation=preparation, isAuthor=is_author)
        route.fulfill(response=answer, json=body)

    page.route(re.compile(r"/assignments(/strange|\?.*)?$"), prepared)
    state, is_author, _ = NOTICES[-1]
    sign_in(page, stage, "/assignments", "opal")
    expect(page.locator("tbody tr", has_text="cannot be used").first).to_be_visible()
    check(page, "list")
    for state, is_author, said in NOTICES:  # noqa: B007 - they are what `prepared` answers with
        page.goto(f"{stage.dispatcher}/assignments/strange")
        expect(page.get_by_text(said)).to_be_visible()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            check(page, f"{said} {theme}")
    assert watch.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@needs_axe
@needs_chromium
@needs_bubblewrap
def test_the_pages_are_accessible_and_fit_a_phone(
    browser: Browser, stage: RunningCloud, theme: str
) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=theme)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        watch = PageWatch(page)
        sign_in(page, stage, "/assignments", "opal")
        check(page, f"list-{theme}")
        page.goto(f"{stage.dispatcher}/assignments/strange")
        choose(page, given("wrong"))
        button(page, "Submit").click()
        expect(page.locator(".mark")).to_be_visible(timeout=MARKED_MS)
        page.get_by_text("Input and output").first.click()
        choose(page, given("right"))
        page.get_by_text("For the author").click()
        expect(page.get_by_role("table", name="Verdicts by case")).to_be_visible()
        check(page, f"one-{theme}")
        assert watch.complaints == []
    finally:
        context.close()


def check(page: Page, name: str) -> None:
    """No finding of axe, and nothing beyond the width, on a phone and on a desk."""
    expect(page.locator("main h1")).to_be_visible()
    page.wait_for_load_state("networkidle")
    for size in (PHONE, {"width": 1280, "height": 900}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("axe.run().then(found => found.violations)")
        said = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found]
        assert said == [], (name, size)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
