"""Runs the session apps of a directory on the embedded cloud, with their page; follows changes.

When a file changes, the next session gets the new code, as after a deployment; open sessions keep
theirs. stdout has the READY line of `local up`, everything else goes to stderr.
"""

import argparse
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.cli import up

if TYPE_CHECKING:
    from local.dev.changes import Files

PROGRAM = "usher dev"
"""The program's name in help and messages; `usher dev` runs `python -m local dev`."""
APPS_FILE = "apps.toml"
PAGE_FOLDER = "page"
POLL_SECONDS = 0.3


class DevError(Exception):
    """The folder has no session apps that can be run; the message is for display."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `dev`."""
    add = parser.add_argument
    add("folder", type=Path, nargs="?", default=Path(), metavar="DIR", help="default: this one")
    add("--page-port", type=int, default=8080, metavar="P", help="the page's (default: 8080)")
    add("--port", default="8000", metavar="P", help="the dispatcher's (default: 8000)")
    add("--aws-port", default="5000", metavar="P", help="that of AWS (default: 5000)")
    add(
        "--runtime",
        choices=("auto", "docker", "process"),
        default="auto",
        help="what containers are (default: Docker's where an Engine answers, else processes)",
    )
    add("--feed", default="demo", metavar="WHAT", help="demo, none, or a file of JSON lines")
    add("--rate", metavar="R", help="records a second of --feed")
    add("--logs", metavar="DIR", help="keep the logs there")


def run(arguments: argparse.Namespace) -> int:
    """Run until a signal. 0: ended on request, 1: could not start, 2: wrong usage."""
    folder = arguments.folder.resolve()
    try:
        images = images_of(folder)
        secrets = secrets_of(folder, os.environ)
        listener = socket.create_server(("127.0.0.1", arguments.page_port))
    except DevError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return up.EXIT_USAGE
    except OSError as error:
        print(
            f"{PROGRAM}: port {arguments.page_port} is in use or not allowed ({error.strerror}); "
            "choose another one with --page-port, 0 means any free one",
            file=sys.stderr,
        )
        return up.EXIT_USAGE
    port = listener.getsockname()[1]
    parser = argparse.ArgumentParser(prog=PROGRAM)
    up.add_arguments(parser)
    options = ["--apps", str(folder / APPS_FILE)]
    for name in images:
        options += ["--image", f"{name}={folder}"]
    for host in ("127.0.0.1", "localhost"):
        options += ["--allowed-origin", f"http://{host}:{port}"]
    for name in ("port", "aws_port", "runtime", "feed", "rate", "logs"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name.replace('_', '-')}", value]
    with listener:
        return up.run(parser.parse_args(options), _Beside(folder, listener, secrets), secrets)


def images_of(folder: Path) -> list[str]:
    """Names of the images that the apps of the folder need and its Dockerfile makes, sorted.

    Raises DevError.
    """
    from chalicelib.config import load_apps
    from chalicelib.errors import ConfigurationError
    from local.hosts.images import SESSION_IMAGE

    if not (folder / APPS_FILE).is_file():
        raise DevError(f"{folder} has no {APPS_FILE} (`usher new --session NAME` makes a folder)")
    try:
        apps = load_apps(folder / APPS_FILE)
    except ConfigurationError as error:
        raise DevError(str(error)) from error
    images = {app.image for app in apps.by_name.values()} - {SESSION_IMAGE}
    if images and not (folder / "Dockerfile").is_file():
        raise DevError(f"{folder} has no Dockerfile, and {', '.join(sorted(images))} needs one")
    return sorted(images)


def secrets_of(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The values of the apps' secrets by reference, from variables of the same name.

    Raises DevError, also if one reference would have two values.
    """
    from chalicelib.config import load_apps

    apps = load_apps(folder / APPS_FILE).by_name.values()
    wanted = {name: ref for app in apps for name, ref in app.secrets.items()}
    if missing := sorted(name for name in wanted if name not in environment):
        raise DevError(
            f"the apps have secrets, which here come from the environment: set {', '.join(missing)}"
        )
    values = {reference: environment[name] for name, reference in wanted.items()}
    different = [name for name, ref in wanted.items() if values[ref] != environment[name]]
    if different:
        raise DevError(f"{', '.join(different)}: one reference with different values")
    return values


class _Beside:
    """Components beside the cloud: the page, the file watcher, the containers' output."""

    def __init__(self, folder: Path, listener: socket.socket, secrets: dict[str, str]) -> None:
        """`secrets` is changed where the apps file is."""
        self._folder = folder
        self._secrets = secrets
        self._listener = listener

    @contextmanager
    def __call__(self, cloud: Any, stop: threading.Event, say: up.Say) -> Iterator[None]:
        from local.dev.changes import files_in
        from local.dev.page import start_page_server

        before = files_in(self._folder)
        page = self._folder / PAGE_FOLDER
        server = start_page_server(self._listener, page, lambda: cloud.dispatcher_url)
        port = self._listener.getsockname()[1]
        say(f"open http://127.0.0.1:{port}/ in a browser: it is {page / 'index.html'}")
        say(f"watching {self._folder}: the next session gets what you change")
        watching = threading.Thread(
            target=self._watch, args=(cloud, stop, say, before), name="dev", daemon=True
        )
        watching.start()
        try:
            yield
        finally:
            server.close()
            watching.join(2.0)

    def _watch(self, cloud: Any, stop: threading.Event, say: up.Say, before: "Files") -> None:
        from local.dev.changes import changed, files_in
        from local.dev.output import ContainerOutput, TaskEnds, show_lines

        output, ends = ContainerOutput(cloud.logs), TaskEnds()
        while not stop.wait(POLL_SECONDS):
            ended = list(ends.new_lines(cloud.operations.parts.engine.tasks()))
            show_lines(output.new_lines(), say)
            for line in ended:  # after what the containers printed
                say(line)
            after = files_in(self._folder)
            names = [n for n in changed(before, after) if not n.startswith(f"{PAGE_FOLDER}/")]
            before = after
            if names:
                self._deploy(cloud, names, say)
        show_lines(output.new_lines(), say)

    def _deploy(self, cloud: Any, names: list[str], say: up.Say) -> None:
        """Make the changed files the apps' next revision. Errors in them are reported."""
        from botocore.exceptions import BotoCoreError, ClientError

        from local.dev.changes import syntax_errors

        for problem in (problems := syntax_errors(self._folder, names)):
            say(f"not deployed: {problem}")
        if problems:
            return
        try:
            images_of(self._folder)
            self._secrets.update(secrets_of(self._folder, os.environ))
            revisions = cloud.operations.deploy_apps(restart=APPS_FILE in names)
        except DevError as error:
            say(f"not deployed: {error}")
        except (BotoCoreError, ClientError) as error:
            say(f"not deployed: {error}; the next change is tried again")
        else:
            say(f"{', '.join(names[:5])} changed; deployed {', '.join(revisions)}")
