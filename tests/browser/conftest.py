"""One browser for the tests of this room, and a fresh page, dispatcher and container for each."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.fakes import Answer, FakeContainer, FakeDispatcher
from tests.browser.watched import PageWatch
from tests.integration.conftest import cloud  # noqa: F401 - a fixture, for the whole path
from tests.needs import chromium_path

TIMEOUT_MS = 20_000
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A Chromium. Until it has ended, no other test of this process can run an event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        expect.set_options(timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    yield page
    context.close()


@pytest.fixture(autouse=True)
def watch(page: Page) -> Iterator[PageWatch]:
    """Records the page's errors; they are printed with a test that fails."""
    watch = PageWatch(page)
    yield watch
    print(watch.report())


@pytest.fixture
def container() -> Iterator[FakeContainer]:
    container = FakeContainer()
    yield container
    container.close()


@pytest.fixture
def second() -> Iterator[FakeContainer]:
    """A second container, for clients that reconnect."""
    container = FakeContainer()
    yield container
    container.close()


@pytest.fixture
def dispatcher(container: FakeContainer) -> Iterator[FakeDispatcher]:
    """Assigns the container to every request, unless the test sets other answers."""
    dispatcher = FakeDispatcher()
    dispatcher.answers = [Answer(200, container.session())]
    yield dispatcher
    dispatcher.close()
