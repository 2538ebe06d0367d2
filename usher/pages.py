"""Reads the dispatcher's paginated listings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

Document = dict[str, Any]
"""JSON as in docs/contracts.md."""

PAGE = 100
"""The dispatcher's maximum number of rows in a page."""


def pages(
    fetch: Callable[[str], Document],
    path: str,
    query: Mapping[str, Any],
    *,
    on_page: Callable[[], None] = lambda: None,
) -> Iterator[Document]:
    """Every page of a listing; a short or empty page may be followed by others.

    `fetch` makes the request for a path with its query; `on_page` is called before each page but
    the first.
    """
    token: str | None = None
    while True:
        wanted = {**query, "next": token}
        text = urlencode({name: value for name, value in wanted.items() if value is not None})
        page = fetch(f"{path}?{text}" if text else path)
        yield page
        token = page.get("next")
        if token is None:
            return
        on_page()


def rows(found: Iterable[Document], name: str, limit: int | None = None) -> Iterator[Document]:
    """The rows of pages, at most `limit`; requests no more pages than necessary."""
    return islice((row for page in found for row in page[name]), limit)


def page_size(limit: int | None) -> int:
    """The page size for at most `limit` rows."""
    return PAGE if limit is None else max(1, min(limit, PAGE))
