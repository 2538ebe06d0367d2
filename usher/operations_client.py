"""A Python client of the dispatcher's HTTP API for operators: a part of `Client`."""

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from usher.errors import AnswerError
from usher.grading_client import GradingClient
from usher.pages import Document, page_size, pages, rows


class OperationsClient(GradingClient):
    """Calls about sessions, hosts and the deployment as a whole."""

    def sessions(
        self,
        *,
        app: str | None = None,
        state: str | None = None,
        owner: str | None = None,
        host: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Document]:
        """Sessions that have not ended, newest first, at most `limit`, as in docs/contracts.md: the
        caller's own; all for operators and viewers.
        """
        query = {"app": app, "state": state, "owner": owner, "host": host}
        return self._listed("/sessions", "sessions", query, limit)

    def session_history(self, session_id: str) -> Document:
        """A session with its history, up to seven days after its end."""
        return self._http.call("GET", f"/sessions/{quote(session_id, safe='')}/history")

    def hosts(self, *, limit: int | None = None) -> Iterator[Document]:
        """The hosts of containers, for operators and viewers."""
        return self._listed("/hosts", "hosts", {}, limit)

    def explain(self, record_id: str) -> Document:
        """The hosts, and for each whether it can take the container of a session or an invocation
        and why not; for operators and viewers. Raises AnswerError with the kinds of records that
        were looked for.
        """
        quoted = quote(record_id, safe="")
        for kind in ("sessions", "invocations"):
            try:
                return self._http.call("GET", f"/{kind}/{quoted}/placement")
            except AnswerError as error:
                if error.status != 404:
                    raise
        raise AnswerError(
            404, "not_found", f"neither a session nor an invocation has the id {record_id!r}"
        )

    def simulate(
        self, *, app: str | None = None, job: str | None = None, more: int = 1
    ) -> Document:
        """Where `more` containers of an app or a job would be placed; for operators and viewers."""
        wanted = {"app": app, "job": job, "more": str(more)}
        query = urlencode({key: value for key, value in wanted.items() if value is not None})
        return self._http.call("GET", f"/placement?{query}")

    def overview(self) -> Document:
        """Counts of what waits, runs and was given up, for operators and viewers."""
        return self._http.call("GET", "/overview")

    def _listed(
        self, path: str, name: str, query: dict[str, str | None], limit: int | None
    ) -> Iterator[Document]:
        query = {**query, "limit": str(page_size(limit))}
        return rows(pages(self._get, path, query), name, limit)
