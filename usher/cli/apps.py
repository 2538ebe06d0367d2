"""`usher apps` and `usher rollback`, and what `usher deploy` does in a folder of session apps."""

import argparse
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from usher.cli.common import add_json, add_url, client_of, note, out, out_json, say_for
from usher.cli.project import Commands, build_and_push, build_options
from usher.cli.text import UsageError, table
from usher.client import Client
from usher.docker import build_command
from usher.errors import AnswerError, UsherError
from usher.session_project import SESSION_IMAGE, SessionProject, description_of, snapshot

PROOF_SECONDS = 180.0
"""Time that `usher deploy` waits for the first ready container of an app with a pool."""
POLL_SECONDS = 0.5
COLUMNS = ("APP", "REVISION", "STATE", "FROM", "DETAIL")
ADVICE = {
    401: "set USHER_API_KEY",
    403: "only operators may deploy apps: see OPERATORS in docs/operations.md",
    404: "is this the URL of a dispatcher that knows apps?",
}
_SESSION_IMAGE = re.compile(rf"(.*/)?{SESSION_IMAGE}([:@].+)?")


def add_commands(commands: Commands) -> None:
    """Define the command lines."""
    apps = commands.add_parser(
        "apps",
        help="the session apps of a deployment: revision and state",
        description="List the session apps of a deployment, those of its apps file and those that "
        "were registered by `usher deploy`. proven: a container of the newest revision was ready; "
        "unproven: none was started yet; failing, refused: none became ready, and the proven "
        "revision before it serves.",
    )
    apps.add_argument("--remove", metavar="APP", help="remove a registered app; sessions go on")
    add_json(apps)
    add_url(apps)
    apps.set_defaults(run=_apps)

    rollback = commands.add_parser(
        "rollback",
        help="take the newest revision of a session app back",
        description="Take the newest revision of a registered session app back: new sessions start "
        "on the one before, what is warm is replaced, and open sessions keep theirs.",
    )
    rollback.add_argument("app", metavar="APP")
    add_no_wait(rollback)
    add_json(rollback)
    add_url(rollback)
    rollback.set_defaults(run=_rollback)


def deploy_apps(arguments: argparse.Namespace, project: SessionProject, *, is_local: bool) -> int:
    """Register the apps of a folder. Raises UsherError."""
    apps = project.chosen(arguments.jobs)
    client = client_of(arguments)
    built = any(app.get("image") != SESSION_IMAGE for app in apps.values())
    if built and not (project.folder / "Dockerfile").is_file():
        raise UsageError(f"{project.folder} has no Dockerfile, and its apps need an image")
    if arguments.dry_run:
        show_plan(arguments, _plan(arguments, project, apps, client.url, is_local=is_local))
        return 0
    session_image = SESSION_IMAGE if is_local else _session_image(arguments, client)
    image = session_image
    if built:
        image = (
            f"dir:{snapshot(project.folder)}"
            if is_local
            else _build_and_push(arguments, project, session_image)
        )
    say = say_for(arguments)
    answers = []
    for name, app in apps.items():
        of_app = session_image if app.get("image") == SESSION_IMAGE else image
        answers.append(_register(client, name, of_app, app))
        say(f"registered {name}, revision {answers[-1]['revision']}")
    proven = [arguments.no_wait or _wait_for_proof(client, answer, say) for answer in answers]
    if arguments.json:
        out_json({"registered": [client.app(answer["name"]) for answer in answers]})
    return 0 if all(proven) else 1


def show_plan(arguments: argparse.Namespace, lines: Sequence[str]) -> None:
    """The output of `--dry-run`."""
    if arguments.json:
        out_json({"plan": list(lines)})
    else:
        out(*lines)


def _register(client: Client, name: str, image: str, app: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return client.register_app(name, image, description_of(app))
    except AnswerError as error:
        advice = ADVICE.get(error.status)
        why = f" ({advice})" if advice else ""
        raise UsherError(f"{name} was not registered: {error}{why}") from error


def _wait_for_proof(client: Client, answer: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """Wait until the first container of a revision is ready; whether nothing is wrong with it."""
    name, revision = answer["name"], answer["revision"]
    if not answer["pool"]:
        note(f"usher: {name} has no warm pool: its first session proves the revision")
        return True
    note(f"usher: waiting for the first container of revision {revision}")
    found = _poll(lambda: client.app(name), revision)
    if found["state"] == "proven":
        say(f"{name}, revision {revision} is proven: new sessions start on it")
        return True
    why = found.get("reason", f"no container was ready within {PROOF_SECONDS:.0f} s")
    note(
        f"usher: {name}, revision {revision} is {found['state']}: {why}; the proven revision "
        f"before it serves, if there is one, and `usher rollback {name}` takes this one back"
    )
    return False


def _poll(look: Callable[[], Mapping[str, Any]], revision: int) -> Mapping[str, Any]:
    """The app, once its revision is proven or refused, or another one is the newest."""
    until = time.monotonic() + PROOF_SECONDS
    while True:
        found = look()
        settled = found["state"] in {"proven", "refused"} or found["revision"] != revision
        if settled or time.monotonic() > until:
            return found
        time.sleep(POLL_SECONDS)


def _session_image(arguments: argparse.Namespace, client: Client) -> str:
    """The deployment's session image: --base, or the image that its own apps run."""
    if arguments.base:
        return str(arguments.base)
    for app in client.apps():
        if app["origin"] == "file" and _SESSION_IMAGE.fullmatch(app.get("image") or ""):
            return str(app["image"])
    raise UsageError(
        "no app of this deployment says which session image it has: name it with --base"
    )


def _build_and_push(
    arguments: argparse.Namespace, project: SessionProject, session_image: str
) -> str:
    options = replace(build_options(arguments), base=session_image, argument="SESSION_IMAGE")
    return build_and_push(arguments, project.folder, options, on=session_image)


def _plan(
    arguments: argparse.Namespace,
    project: SessionProject,
    apps: Mapping[str, Mapping[str, Any]],
    url: str,
    *,
    is_local: bool,
) -> list[str]:
    lines = []
    if is_local:
        image = f"a copy of {project.folder}"
    else:
        base = arguments.base or "the session image of this deployment"
        options = replace(build_options(arguments), base=base, argument="SESSION_IMAGE")
        lines.append(" ".join(build_command(arguments.image, str(project.folder), options)))
        image = arguments.image
        if arguments.push:
            lines.append(f"docker push {image}")
            image = f"{image} by its digest"
    return [*lines, *(f"PUT {url}/apps/{name} with the image {image}" for name in apps)]


def _apps(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    if arguments.remove:
        client.remove_app(arguments.remove)
        if arguments.json:
            out_json({"name": arguments.remove, "removed": True})
        else:
            out(f"removed {arguments.remove}; its sessions go on")
        return 0
    apps = client.apps()
    if arguments.json:
        out_json({"apps": apps})
        return 0
    out(*table([COLUMNS, *map(_row, apps)]))
    return 0


def _row(app: Mapping[str, Any]) -> tuple[str, ...]:
    origin = "apps file" if app["origin"] == "file" else "usher deploy"
    detail = f"{app['failures']} failed: {app['reason']}" if "reason" in app else ""
    return (app["name"], str(app["revision"]), app["state"], origin, detail)


def _rollback(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    newest = client.app(arguments.app)["revision"]
    answer = client.roll_back_app(arguments.app, newest)
    say = say_for(arguments)
    say(f"took back {arguments.app}, revision {newest}; the newest is {answer['revision']}")
    is_well = arguments.no_wait or _wait_for_proof(client, answer, say)
    if arguments.json:
        out_json(client.app(arguments.app))
    return 0 if is_well else 1


def add_no_wait(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that change what is deployed."""
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="of an app with a warm pool: do not wait for its first container",
    )
