"""`usher deploy`: builds, pushes and registers a project's jobs, or its session apps."""

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from usher.cli.apps import add_no_wait, deploy_apps, show_plan
from usher.cli.common import (
    add_json,
    add_project,
    add_url,
    client_of,
    note,
    out_json,
    say_for,
)
from usher.cli.project import Commands, add_build_options, build_and_push, build_options
from usher.cli.text import UsageError
from usher.discovery import FOLDER, find_jobs, find_project
from usher.docker import build_command
from usher.errors import AnswerError, ProjectError, UsherError
from usher.session_project import find_session_project

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
ADVICE = {
    401: "set USHER_API_KEY",
    403: "only operators may register jobs: see OPERATORS in docs/operations.md",
    404: "is this the URL of a dispatcher that knows jobs?",
}


def add_commands(commands: Commands) -> None:
    """Describe the command line."""
    deploy = commands.add_parser(
        "deploy",
        help="build, push and register the jobs or session apps of this project",
        description="Register the project's jobs, or the session apps of a folder with an "
        "apps.toml, with a dispatcher, all or those named. Towards a "
        "local cloud (a loopback --url, no --image) the folder itself is registered, and the "
        "cloud builds it. Else the image is built as --image, pushed with --push, and registered "
        "by its digest. What runs stays on the revision it was started with. A revision of a "
        "session app is proven by its first ready container; with a warm pool, it is waited for.",
    )
    deploy.add_argument("jobs", nargs="*", default=[], metavar="NAME")
    deploy.add_argument("--image", metavar="REPOSITORY:TAG", help="what to call the image")
    deploy.add_argument("--push", action="store_true", help="push it to its registry")
    deploy.add_argument("--dry-run", action="store_true", help="say what would be done")
    add_project(deploy)
    add_build_options(deploy)
    add_no_wait(deploy)
    add_json(deploy, "what was registered, or with --dry-run the lines of the plan")
    add_url(deploy)
    deploy.set_defaults(run=_deploy)


def _deploy(arguments: argparse.Namespace) -> int:
    session_project = find_session_project(arguments.project)
    client = client_of(arguments)
    is_local = urlsplit(client.url).hostname in LOOPBACK and arguments.image is None
    if session_project is not None:
        if (session_project.folder / FOLDER).is_dir():
            raise UsageError(f"{session_project.folder} has {FOLDER}/ and an apps.toml: keep apart")
        _check_image_options(arguments, client.url, is_local=is_local)
        return deploy_apps(arguments, session_project, is_local=is_local)
    project = find_project(arguments.project)
    descriptions = _descriptions(project, arguments.jobs)
    _check_image_options(arguments, client.url, is_local=is_local)
    if arguments.dry_run:
        show_plan(arguments, _plan(arguments, project, descriptions, client.url, is_local=is_local))
        return 0
    image = (
        f"dir:{project}"
        if is_local
        else build_and_push(arguments, project, build_options(arguments))
    )
    answers = []
    for name, description in descriptions.items():
        try:
            answer = client.register(image, description)
        except AnswerError as error:
            raise UsherError(_explained(name, error)) from error
        answers.append(answer)
        say_for(arguments)(f"registered {name}, revision {answer['revision']}")
    if is_local:
        note("usher: the local cloud builds the image when the first run of it starts")
    if arguments.json:
        out_json({"registered": answers})
    return 0


def _check_image_options(arguments: argparse.Namespace, url: str, *, is_local: bool) -> None:
    if arguments.push and arguments.image is None:
        raise UsageError("--push needs --image REPOSITORY:TAG")
    if not is_local and arguments.image is None:
        raise UsageError(f"{url} is not this machine: say --image REPOSITORY:TAG --push")


def _descriptions(project: Path, wanted: list[str]) -> dict[str, dict[str, Any]]:
    """The descriptions of all jobs, or of those wanted. Raises ProjectError with all problems."""
    from usher.description import describe

    found = find_jobs(project)
    missing = sorted(set(wanted) - set(found.jobs))
    problems = [*found.problems, *(f"there is no job {name}" for name in missing)]
    if problems:
        raise ProjectError("nothing was deployed: " + "; ".join(problems))
    if not found.jobs:
        raise ProjectError(f"{project} has no jobs")
    return {name: describe(found.jobs[name]) for name in (wanted or found.jobs)}


def _plan(
    arguments: argparse.Namespace,
    project: Path,
    descriptions: dict[str, dict[str, Any]],
    url: str,
    *,
    is_local: bool,
) -> list[str]:
    lines = []
    image = arguments.image
    if is_local:
        image = f"dir:{project}"
    else:
        command = build_command(
            image, f"{project} with usher/ and wheels/", build_options(arguments)
        )
        lines.append(" ".join(command))
        if arguments.push:
            lines.append(f"docker push {image}")
            image = f"{image} by its digest"
    return [*lines, *(f"PUT {url}/jobs/{name} with the image {image}" for name in descriptions)]


def _explained(name: str, error: AnswerError) -> str:
    advice = ADVICE.get(error.status)
    return f"{name} was not registered: {error}" + (f" ({advice})" if advice else "")
