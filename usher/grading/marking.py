"""Marks with the boxes that work on this machine and the grader's image."""

import contextlib
import io
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chalicelib.contract.graders import GraderError
from usher.box.model import NoBoxError
from usher.box.names import BASE_VARIABLE
from usher.box.runtimes import Boxes, choose_boxes
from usher.errors import UsherError
from usher.grading.folders import GraderFolder, read_assignment
from usher.grading.image_cleaning import CleanImage
from usher.grading.image_marking import NEEDS_DOCKER
from usher.grading.images import ImageError, image_for
from usher.grading.judge import Judge, Progress
from usher.grading.results import Grading, broken, document, for_learner
from usher.grading.verdicts import Verdict

"""The default image of graders."""
MOST_FEEDBACK = 4_000
"""Maximum length of feedback in the mark; the documents have all of it."""
REQUEST_SECONDS = 60.0
TRIES = 3
PAUSE_SECONDS = 0.5


class PapersError(UsherError):
    """The files of a grading cannot be fetched, or its documents cannot be stored."""


@dataclass(frozen=True)
class Order:
    """The grading to mark."""

    grading: str
    submission: str
    assignment: str
    part: str
    learner: str
    revision: int
    image: str | None = None
    """The pinned image of the part; None where it was not resolved before."""


@dataclass(frozen=True)
class Papers:
    """Presigned URLs of the grader's files, of the learner's, and for the two documents."""

    grader: str
    files: str
    results: Mapping[str, str]


def mark_here(
    folder: GraderFolder,
    submitted: Mapping[str, bytes],
    *,
    runtime: str | None,
    base: str | None,
    on_progress: Progress = lambda *_: None,
    on_cleaned: Callable[[CleanImage], None] = lambda _: None,
) -> Grading:
    """A machine without boxes or images is a failure of the grader, not of the submission.

    `on_cleaned` is called with the grader's image if it was changed by cleaning.
    """
    try:
        boxes = choose_boxes(runtime, base)
        image = _image_of(boxes, folder, base, on_cleaned)
    except (NoBoxError, ImageError) as error:
        return broken(folder.max_points, str(error))
    with contextlib.closing(boxes):
        return Judge(boxes, image).grade(folder, submitted, on_progress)


def _image_of(
    boxes: Boxes,
    folder: GraderFolder,
    base: str | None,
    on_cleaned: Callable[[CleanImage], None] = lambda _: None,
    pinned: str | None = None,
) -> str:
    """The id of the grader's cleaned image; empty if boxes need none. Raises ImageError."""
    if boxes.name != "docker":
        return ""
    image = image_for(folder, base, pinned)
    if image.cleaned:
        on_cleaned(image)
    return image.id


class Marker:
    """Marks one grading after the other. They share the graders' files and what makes boxes.
    Every run has a box of its own.
    """

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="usher-judge-")
        self._base = os.environ.get(BASE_VARIABLE) or None
        self._boxes: Boxes | None = None
        self._graders: dict[str, Path] = {}

    def close(self) -> None:
        """Remove the graders' files, and what makes boxes."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._place.cleanup)
            if self._boxes is not None:
                stack.callback(self._boxes.close)

    def mark_order(
        self, order: Order, papers: Papers, on_progress: Progress, started: datetime
    ) -> dict[str, Any]:
        """Fetch, mark and store; returns the mark without large fields. Raises PapersError."""
        folder = self._grader(papers.grader, order.assignment)
        grading = self._mark(folder, order, read_archive(fetch(papers.files)), on_progress)
        identity = {
            "id": order.grading,
            "assignment": order.assignment,
            "part": order.part,
            "submission": order.submission,
            "revision": order.revision,
            "startedAt": started.isoformat(timespec="milliseconds"),
        }
        grading = replace(grading, identity=identity)
        for_eyes = {"author": grading, "learner": for_learner(grading)}
        for reader, url in papers.results.items():
            store(url, json.dumps(document(for_eyes[reader])).encode())
        return {
            "grading": order.grading,
            "verdict": grading.verdict.value,
            "score": grading.score,
            "maxScore": grading.max_score,
            "feedback": for_eyes["learner"].feedback[:MOST_FEEDBACK],
            "detailed": True,
        }

    def prepare_order(self, order: Order, papers: Papers, on_progress: Progress) -> dict[str, Any]:
        """Pin and clean the images of all parts; why not, where one cannot be used.

        Raises PapersError.
        """
        folder = self._grader(papers.grader, order.assignment)
        images: dict[str, str] = {}
        problems = []
        try:
            parts = read_assignment(folder).parts
            self._boxes = self._boxes or choose_boxes(None, self._base)
        except (GraderError, NoBoxError) as error:
            parts, problems = {}, [str(error)]
        for name, part in parts.items():
            on_progress(f"preparing {name}", 0, 0)
            try:
                found = self._prepared(part)
            except ImageError as error:
                problems.append(f"part {name}: {error}")
            else:
                images |= {} if found is None else {name: found}
        verdict = Verdict.IE if problems else Verdict.AC
        return {
            "grading": order.grading,
            "verdict": verdict.value,
            "score": None if problems else 0.0,
            "maxScore": 0.0,
            "feedback": "\n".join(problems)[:MOST_FEEDBACK],
            "detailed": False,
            "images": {} if problems else images,
        }

    def _prepared(self, part: GraderFolder) -> str | None:
        """Returns the pinned image of a part; None where boxes need none. Raises ImageError."""
        if self._boxes is None or self._boxes.name != "docker":
            if part.grader.kind == "image":
                raise ImageError(NEEDS_DOCKER)
            return None
        return image_for(part, self._base).pinned if part.names_image else None

    def _grader(self, url: str, assignment: str) -> Path:
        """The directory with the files of this URL, fetched once. Raises PapersError."""
        key = urlsplit(url).path
        if key not in self._graders:
            folder = Path(self._place.name) / str(len(self._graders)) / assignment
            unpack(fetch(url), folder)
            self._graders[key] = folder
        return self._graders[key]

    def _mark(
        self,
        folder: Path,
        order: Order,
        submitted: Mapping[str, bytes],
        on_progress: Progress,
    ) -> Grading:
        try:
            found = read_assignment(folder).parts.get(order.part)
        except GraderError as error:
            return broken(0.0, str(error))
        if found is None:
            return broken(0.0, f"the grader's files have no part {order.part!r}")
        try:
            self._boxes = self._boxes or choose_boxes(None, self._base)
            image = _image_of(self._boxes, found, self._base, pinned=order.image)
        except (NoBoxError, ImageError) as error:
            return broken(found.max_points, str(error))
        return Judge(self._boxes, image).grade(found, submitted, on_progress, order.learner)


def hand_in(url: str, key: str, mark: Mapping[str, Any]) -> dict[str, Any] | None:
    """Report a mark to the dispatcher; returns the next grading, None = no more.

    Raises PapersError if it did not accept the mark.
    """
    data = json.dumps({"grading": mark["grading"], "result": mark}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310 - the same
    order = json.loads(_request(request)).get("next")
    return order if isinstance(order, dict) else None


def unpack(data: bytes, folder: Path) -> None:
    """Unpack the dispatcher's archive into a new directory."""
    for path, content in read_archive(data).items():
        target = folder / path
        if not target.resolve().is_relative_to(folder.resolve()):
            raise PapersError(f"{path} leads out of the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def read_archive(data: bytes) -> dict[str, bytes]:
    """The files of an archive that the dispatcher packed. Raises PapersError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise PapersError(f"an archive cannot be read: {error}") from error


def fetch(url: str) -> bytes:
    """Download from a presigned URL. Raises PapersError."""
    return _request(urllib.request.Request(url))  # noqa: S310 - the dispatcher's word


def store(url: str, data: bytes) -> None:
    """Upload to a presigned URL. Raises PapersError."""
    headers = {"Content-Type": "application/json"}  # urllib would otherwise set the type of a form
    _request(urllib.request.Request(url, data, headers, method="PUT"))  # noqa: S310 - the same


def _request(request: urllib.request.Request) -> bytes:
    """Repeated after errors, because it is idempotent. Messages do not contain the URL, which is a
    credential.
    """
    for left in reversed(range(TRIES)):
        if left < TRIES - 1:
            time.sleep(PAUSE_SECONDS)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:  # noqa: S310
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            with error:
                reason = f"HTTP {error.code}"
        except OSError as error:
            reason = str(getattr(error, "reason", error))
        if not left:
            raise PapersError(f"{request.get_method()} of the grading's files failed: {reason}")
    raise AssertionError("unreachable")
