"""`usher assignment …` and `usher submit`: assignments of a dispatcher, and files for them."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chalicelib.contract.graders import GraderError
from usher.cli.common import add_json, add_url, client_of, note, out, out_json
from usher.cli.exit_codes import FAILED, GRADER_FAILED, OK
from usher.cli.text import UsageError, table
from usher.grading.folders import read_assignment, read_files

Commands = Any


def add_commands(commands: Commands) -> None:
    """Describe the command lines."""
    assignment = commands.add_parser(
        "assignment", help="put, list, show, prepare, regrade and remove assignments"
    )
    actions = assignment.add_subparsers(metavar="ACTION", required=True)
    put = actions.add_parser("put", help="put the assignment in DIR, or its next revision")
    put.add_argument("folder", metavar="DIR", type=Path)
    put.add_argument("--id", help="default: the folder's name")
    put.set_defaults(run=_put)
    listed = actions.add_parser("list", help="all assignments")
    listed.set_defaults(run=_list)
    shown = actions.add_parser("show", help="an assignment, and what one has earned")
    shown.add_argument("assignment", metavar="ASSIGNMENT")
    shown.add_argument("--learner", help="for authors and operators: of whom")
    shown.set_defaults(run=_show)
    prepared = actions.add_parser(
        "prepare",
        help="pin and clean the images of its graders again",
        description="Pin and clean the images of an assignment's graders again: after they "
        "could not be used, or where their names mean other images now. With --follow exit code 3 "
        "says that they cannot be used.",
    )
    prepared.add_argument("assignment", metavar="ASSIGNMENT")
    prepared.add_argument("--follow", action="store_true", help="wait until they are prepared")
    prepared.set_defaults(run=_prepare)
    again = actions.add_parser(
        "regrade", help="mark all submissions again; the gradings before are kept"
    )
    again.add_argument("assignment", metavar="ASSIGNMENT")
    again.add_argument("--submission", metavar="ID", help="this one alone")
    again.add_argument("--key", help="of a regrade that was interrupted: it goes on")
    again.set_defaults(run=_regrade)
    removed = actions.add_parser(
        "remove", help="take no more submissions; what was handed in is marked and stays visible"
    )
    removed.add_argument("assignment", metavar="ASSIGNMENT")
    removed.set_defaults(run=_remove)
    submit = commands.add_parser(
        "submit",
        help="hand in files",
        description="Hand in FILEs for parts of an assignment; a part may be named several times.",
    )
    submit.add_argument("assignment", metavar="ASSIGNMENT")
    submit.add_argument("files", metavar="PART=FILE", nargs="+")
    submit.add_argument("--learner", help="for operators: whose it is")
    submit.add_argument("--follow", action="store_true", help="wait for the marks")
    submit.set_defaults(run=_submit)
    for parser in (put, listed, shown, prepared, again, removed, submit):
        add_json(parser)
        add_url(parser)


def _put(arguments: argparse.Namespace) -> int:
    try:
        read_assignment(arguments.folder)  # its problems are reported before anything is sent
        files = read_files(arguments.folder)
    except GraderError as error:
        raise UsageError(str(error)) from None
    name = arguments.id or arguments.folder.resolve().name
    found = client_of(arguments).put_assignment(name, files)
    if arguments.json:
        out_json(found)
    else:
        out(f"{found['id']}: revision {found['revision']}, {found['maxScore']:g} points")
        out(*preparation_lines(found))
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    found = client.prepare_assignment(arguments.assignment)
    if arguments.follow:
        found = client.wait_for_preparation(arguments.assignment)
    if arguments.json:
        out_json(found)
    else:
        out(*(preparation_lines(found) or ["the grader's images are prepared"]))
    return GRADER_FAILED if found["preparation"]["state"] == "FAILED" else OK


def preparation_lines(found: Mapping[str, Any]) -> list[str]:
    """Returns lines about the preparation of the graders' images; none where they are ready."""
    preparation = found.get("preparation") or {"state": "READY"}
    match preparation["state"]:
        case "PREPARING":
            return ["the grader's images are being prepared; submissions wait for that"]
        case "FAILED":
            lines = ["the grader's images cannot be used; submissions are refused"]
            if "reason" in preparation:
                lines += [f"  {line}" for line in preparation["reason"].splitlines()]
                lines.append(f"usher assignment prepare {found['id']} tries again")
            return lines
    return []


def _list(arguments: argparse.Namespace) -> int:
    found = list(client_of(arguments).assignments())
    if arguments.json:
        out_json(found)
        return 0
    rows = [
        (each["id"], str(each["revision"]), f"{each['maxScore']:g}", each["title"])
        for each in found
    ]
    out(*table([("ASSIGNMENT", "REVISION", "POINTS", "TITLE"), *rows]))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    found = client.assignment(arguments.assignment)
    standing = client.standing(arguments.assignment, learner=arguments.learner)
    if arguments.json:
        out_json(found | {"standing": standing})
        return 0
    passing = f", {found['passPoints']:g} to pass" if found["passPoints"] else ""
    out(f"{found['title']} ({found['id']}, revision {found['revision']})")
    out(f"{found['maxScore']:g} points{passing}")
    out(*preparation_lines(found))
    rows = [
        (part["name"], f"{part['maxScore']:g}", " ".join(part["files"]), part["title"])
        for part in found["parts"]
    ]
    out(*table([("PART", "POINTS", "FILES", "TITLE"), *rows]))
    if standing is not None:
        verdict = "passed" if standing["passed"] else "not passed"
        out(f"earned: {standing['total']:g} of {standing['maxScore']:g}, {verdict}")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    client_of(arguments).remove_assignment(arguments.assignment)
    if arguments.json:
        out_json({"id": arguments.assignment})
    else:
        out(f"{arguments.assignment} takes no more submissions")
    return 0


def _regrade(arguments: argparse.Namespace) -> int:
    if arguments.submission:
        return _regrade_one(arguments)
    pages = []
    for page in client_of(arguments).regrade_assignment(arguments.assignment, arguments.key):
        pages.append(page)
        note(f"usher: {page['gradings']} gradings queued (--key {page['key']} goes on from here)")
    total = {name: sum(page[name] for page in pages) for name in ("submissions", "gradings")}
    if arguments.json:
        out_json(total)
    else:
        out(f"{total['gradings']} gradings of {total['submissions']} submissions are marked again")
    return 0


def _regrade_one(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    owner = client.submission(arguments.submission)["assignment"]
    if owner != arguments.assignment:
        raise UsageError(f"{arguments.submission} is a submission for {owner}")
    found = client.regrade_submission(arguments.submission)
    if arguments.json:
        out_json(found)
    else:
        out(f"{arguments.submission} is marked again")
    return 0


def _submit(arguments: argparse.Namespace) -> int:
    parts = read_parts(arguments.files)
    client = client_of(arguments)
    found = client.submit(arguments.assignment, parts, learner=arguments.learner)
    if arguments.follow:
        follow = _Progress() if sys.stderr.isatty() else lambda _: None
        found = client.wait_for_marks(found["id"], on_look=follow)
    if arguments.json:
        out_json(found)
    else:
        out(*submission_lines(found))
    return exit_code(found) if arguments.follow else 0


def read_parts(arguments: list[str]) -> dict[str, dict[str, bytes]]:
    """The files of `PART=FILE …` by part and name. Raises UsageError."""
    parts: dict[str, dict[str, bytes]] = {}
    for argument in arguments:
        part, separator, path = argument.partition("=")
        if not separator or not part or not path:
            raise UsageError(f"{argument!r}: PART=FILE is wanted")
        files = parts.setdefault(part, {})
        name = Path(path).name
        if name in files:
            raise UsageError(f"{part}: two files are called {name}")
        try:
            files[name] = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(str(error)) from None
    return parts


def submission_lines(found: Mapping[str, Any]) -> list[str]:
    """The lines of a submission for display."""
    lines = [f"submission {found['id']}"]
    for grading in found["gradings"]:
        lines.append(f"{grading['part']}: {progress_of(grading)}")
        if grading["state"] != "FINISHED":
            continue
        lines += [f"  {line}" for line in grading["feedback"].splitlines()]
        if grading["compile"] and grading["verdict"] == "CE":
            lines += [f"  {line}" for line in grading["compile"]["output"].splitlines()]
        rows = [
            (
                f"  {case['name']}",
                case["verdict"],
                f"{case['points']:g}/{case['maxPoints']:g}",
                f"{case['cpuSeconds']:g} s",
                f"{case['memoryMib']:g} MiB",
                case["message"].partition("\n")[0],
            )
            for case in grading["cases"]
        ]
        lines += table(rows) if rows else []
    return lines


def progress_of(grading: Mapping[str, Any]) -> str:
    """The progress of a grading in a few words."""
    if grading["state"] == "FINISHED":
        score = grading["score"]
        if score is None:
            return str(grading["verdict"])
        return f"{grading['verdict']}, {score:g} of {grading['maxScore']:g} points"
    if grading["state"] == "QUEUED":
        position = grading["position"]
        if grading.get("preparing"):
            return "queued until the grader's images are prepared"
        estimate = grading.get("estimateSeconds")
        soon = "" if estimate is None else f", marked in about {estimate} s"
        return "queued" if position is None else f"queued, {position} before it{soon}"
    progress = grading["progress"] or {}
    return str(progress.get("message") or grading["state"].lower())


def exit_code(found: Mapping[str, Any]) -> int:
    """The exit code of `--follow`."""
    gradings = found["gradings"]
    if any(grading["verdict"] == "IE" for grading in gradings):
        return GRADER_FAILED
    is_full = all(grading["score"] == grading["maxScore"] for grading in gradings)
    return OK if is_full else FAILED


class _Progress:
    """A line of stderr for each change."""

    def __init__(self) -> None:
        self._printed = ""

    def __call__(self, found: Mapping[str, Any]) -> None:
        line = "; ".join(f"{each['part']}: {progress_of(each)}" for each in found["gradings"])
        if line != self._printed:
            note(line)
            self._printed = line
