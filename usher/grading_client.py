"""A Python client of the dispatcher's HTTP API for assignments and submissions: a part of
`Client`.
"""

import base64
import io
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, urlencode

from usher.errors import WaitTimeoutError
from usher.pages import Document, pages, rows
from usher.transport import Transport

FIRST_POLL_SECONDS = 0.25
MAX_POLL_SECONDS = 2.0
PAGE = 50
"""The dispatcher's maximum."""


class GradingClient:
    """Calls about assignments and submissions. Idempotent requests are repeated."""

    _http: Transport

    def put_assignment(self, assignment_id: str, files: Mapping[str, bytes]) -> Document:
        """Create an assignment or its next revision; `files` by their paths in its directory."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(files):
                archive.writestr(path, files[path])
        body = {"archive": {"base64": base64.b64encode(target.getvalue()).decode()}}
        return self._http.call("PUT", f"/assignments/{_path(assignment_id)}", body)

    def assignments(self) -> Iterator[Document]:
        """All of them, by id; pages are fetched as they are needed."""
        yield from self._pages("/assignments", "assignments", {})

    def assignment(self, assignment_id: str) -> Document:
        """One assignment in its newest revision."""
        return self._http.call("GET", f"/assignments/{_path(assignment_id)}")

    def remove_assignment(self, assignment_id: str) -> None:
        """Accept no more submissions; existing ones are marked and stay visible."""
        self._http.call("DELETE", f"/assignments/{_path(assignment_id)}")

    def submit(
        self,
        assignment_id: str,
        parts: Mapping[str, Mapping[str, bytes]],
        *,
        learner: str | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """Submit files by part and name, and return the submission at once.

        `learner`: the submission's learner, for operators. The same `idempotency_key` refers to the
        same submission; by default a key is generated for this call and its repetitions.
        """
        body: Document = {
            "parts": {
                part: {
                    "files": {
                        name: {"base64": base64.b64encode(data).decode()}
                        for name, data in files.items()
                    }
                }
                for part, files in parts.items()
            }
        }
        if learner is not None:
            body["learner"] = learner
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        path = f"/assignments/{_path(assignment_id)}/submissions"
        return self._http.call("POST", path, body, headers)

    def submission(self, submission_id: str) -> Document:
        """A submission with the present state of its gradings."""
        return self._http.call("GET", f"/submissions/{_path(submission_id)}")

    def submissions(self, assignment_id: str, *, learner: str | None = None) -> Iterator[Document]:
        """The caller's own, newest first; for authors and operators those of all learners, or of
        one.
        """
        path = f"/assignments/{_path(assignment_id)}/submissions"
        yield from self._pages(path, "submissions", {"learner": learner})

    def standing(self, assignment_id: str, *, learner: str | None = None) -> Document | None:
        """The best scores of a learner; None for authors and operators without `learner`."""
        query = {"limit": "1"} | ({"learner": learner} if learner else {})
        path = f"/assignments/{_path(assignment_id)}/submissions?{urlencode(query)}"
        found: Document | None = self._http.call("GET", path)["standing"]
        return found

    def wait_for_marks(
        self,
        submission_id: str,
        timeout_seconds: float | None = None,
        *,
        on_look: Callable[[Document], None] = lambda _: None,
    ) -> Document:
        """Wait until each part has a verdict; `on_look` receives the submission at each poll.

        Raises WaitTimeoutError.
        """

        def look() -> Document:
            found = self.submission(submission_id)
            on_look(found)
            return found

        return _wait(
            look,
            lambda found: found["state"] == "FINISHED",
            f"{submission_id} is not marked yet",
            timeout_seconds,
        )

    def prepare_assignment(self, assignment_id: str) -> Document:
        """Pin and clean the images of its graders again; see `preparation` of the answer."""
        return self._http.call("POST", f"/assignments/{_path(assignment_id)}/prepare")

    def wait_for_preparation(
        self, assignment_id: str, timeout_seconds: float | None = None
    ) -> Document:
        """The assignment once its images are prepared, or cannot be used.

        Raises WaitTimeoutError.
        """
        return _wait(
            lambda: self.assignment(assignment_id),
            lambda found: found["preparation"]["state"] != "PREPARING",
            f"the preparation of {assignment_id} is not over",
            timeout_seconds,
        )

    def regrade_submission(self, submission_id: str) -> Document:
        """Mark all its parts again with the newest revision."""
        path = f"/submissions/{_path(submission_id)}/regrade"
        return self._http.call("POST", path, headers={"Idempotency-Key": str(uuid.uuid4())})

    def regrade_assignment(self, assignment_id: str, key: str | None = None) -> Iterator[Document]:
        """Mark all submissions again, page by page; each page reports what it queued.

        With the `key` of an interrupted regrade nothing is marked twice.
        """
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        path = f"/assignments/{_path(assignment_id)}/regrade"
        return pages(lambda at: self._http.call("POST", at, headers=headers), path, {})

    def _pages(self, path: str, name: str, query: Mapping[str, str | None]) -> Iterator[Document]:
        return rows(pages(self._get, path, {**query, "limit": str(PAGE)}), name)

    def _get(self, path: str) -> Document:
        return self._http.call("GET", path)


def _wait(
    look: Callable[[], Document],
    is_over: Callable[[Document], bool],
    late: str,
    timeout_seconds: float | None,
) -> Document:
    """Returns the first final document of `look`. Raises WaitTimeoutError with `late`."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pause = FIRST_POLL_SECONDS
    while True:
        found = look()
        if is_over(found):
            return found
        if deadline is not None and time.monotonic() + pause > deadline:
            raise WaitTimeoutError(late)
        time.sleep(pause)
        pause = min(pause * 1.3, MAX_POLL_SECONDS)


def _path(part: str) -> str:
    return quote(str(part), safe="")
