"""`usher new`, `list`, `describe` and `run`: commands without a dispatcher."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chalicelib.contract.jobs import MAX_PARAMETERS_BYTES
from chalicelib.contract.json_text import size_of
from usher.cli.common import (
    add_json,
    add_parameters,
    add_project,
    note,
    out,
    out_json,
    read_parameters,
    say_for,
    stdout_for_a_document,
)
from usher.cli.text import UsageError, table
from usher.describe_apart import describe_apart
from usher.discovery import FOLDER, find_job, find_jobs, find_project
from usher.docker import BuildOptions, build, docker_answers, has_image, local_tag, push
from usher.docker_run import run_in_docker
from usher.errors import DescriptionError, ProjectError
from usher.new_project import write_project
from usher.new_session import write_session_app
from usher.process_run import run_as_process
from usher.protocol import Limits

Commands = Any
"""The result of argparse's add_subparsers; its class is private."""


def add_commands(commands: Commands) -> None:
    """Describe the command lines."""
    new = commands.add_parser(
        "new",
        help="write a new job, with a project around it, or a new session app",
        description="Write a job that works, its parameters and its test: in a new folder NAME, "
        "or in the project that this folder is in. With --session, a session app that works, its "
        "test, image and page: in a new folder NAME. Files that are there stay as they are.",
    )
    new.add_argument(
        "name", metavar="NAME", help="of the job, as price_alert, or of the app, as price-alert"
    )
    new.add_argument("--session", action="store_true", help="write a session app, not a job")
    new.add_argument("--into", type=Path, metavar="DIR", help="the folder to write into")
    add_json(new, "the files that were written")
    new.set_defaults(run=_new)

    listing = commands.add_parser("list", help="the jobs of this project, and what is wrong in it")
    add_project(listing)
    add_json(listing, "descriptions and problems")
    listing.set_defaults(run=_list)

    describe = commands.add_parser("describe", help="a job's description, as it is registered")
    describe.add_argument("job", metavar="JOB")
    add_project(describe)
    add_json(describe, "it is JSON in any case")
    describe.set_defaults(run=_describe)

    run = commands.add_parser(
        "run",
        help="run a job here, under the limits it declares",
        description="Run a job on this machine: the same log lines, limits and exit codes as on "
        "ECS. In Docker if the project's image has been built here before and Docker answers, "
        "else as a process. Its log goes to stdout and stderr, its result to stdout.",
    )
    run.add_argument("job", metavar="JOB")
    add_parameters(run)
    add_project(run)
    how = run.add_mutually_exclusive_group()
    how.add_argument("--docker", action="store_true", help="in Docker; builds the image")
    how.add_argument("--process", action="store_true", help="as a process")
    run.add_argument("--result", type=Path, metavar="FILE", help="write the result there as JSON")
    add_build_options(run)
    add_json(run, "exit code and result as one document; the job's own output goes to stderr")
    run.set_defaults(run=_run)


def add_build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        metavar="IMAGE",
        default=os.environ.get("USHER_BASE_IMAGE"),
        help="build on this image instead of the Dockerfile's; default: $USHER_BASE_IMAGE",
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="DIR",
        help="install packages from the wheels in DIR, and ask no package index",
    )


def build_options(arguments: argparse.Namespace) -> BuildOptions:
    return BuildOptions(arguments.base, arguments.wheels)


def build_and_push(
    arguments: argparse.Namespace, folder: Path, options: BuildOptions, *, on: str = ""
) -> str:
    """Build --image, and push it with --push; returns the name to register, with its digest if
    pushed.
    """
    image: str = arguments.image
    say = say_for(arguments)
    say(f"building {image} on {on}" if on else f"building {image}")
    build(folder, image, options)
    if not arguments.push:
        say("not pushed: where it is to run, it must be known by this name (--push)")
        return image
    say(f"pushing {image}")
    return push(image)


def _new(arguments: argparse.Namespace) -> int:
    if arguments.session:
        return _new_session(arguments)
    folder = arguments.into
    if folder is None:
        here = Path()
        folder = here if (here / FOLDER).is_dir() else here / arguments.name
    made = write_project(arguments.name, folder)
    go = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    run = f"{go}usher run {arguments.name} parameters/{arguments.name}.json"
    return _written(arguments, made, f"try it: {run}")


def _new_session(arguments: argparse.Namespace) -> int:
    folder = arguments.into or Path(arguments.name)
    made = write_session_app(arguments.name, folder)
    return _written(
        arguments, made, f"test it: cd {folder} && python -m pytest", "see it: usher dev"
    )


def _written(arguments: argparse.Namespace, made: list[Path], *advice: str) -> int:
    if arguments.json:
        out_json({"written": [str(path) for path in made]})
    else:
        out(*(f"wrote {path}" for path in made), *advice)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from usher.description import describe

    found = find_jobs(find_project(arguments.project))
    problems, described = list(found.problems), []
    for job in found.jobs.values():
        try:
            described.append(describe(job))
        except DescriptionError as error:
            problems.append(str(error))
    if arguments.json:
        out_json({"jobs": described, "problems": problems})
        return 1 if problems else 0
    rows = [("JOB", "CPU", "MEMORY", "TIMEOUT", "SUMMARY")]
    for entry in described:
        limits = f"{entry['cpu']}", f"{entry['memory']} MiB", f"{entry['timeoutSeconds']} s"
        rows.append((entry["name"], *limits, entry["summary"]))
    out(*table(rows))
    for problem in problems:
        note(f"usher: {problem}")
    return 1 if problems else 0


def _describe(arguments: argparse.Namespace) -> int:
    from usher.description import describe

    job = find_job(find_project(arguments.project), arguments.job)
    out(json.dumps(describe(job), indent=2))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    if not arguments.json:
        return _run_and_show(arguments, lambda result: None if result is None else _show(result))
    results: list[Any] = []
    with stdout_for_a_document() as print_document:
        code = _run_and_show(arguments, results.append)
        result = results[-1] if results else None
        print_document({"job": arguments.job, "exitCode": code, "result": result})
    return code


def _show(result: Any) -> None:
    out(json.dumps(result, ensure_ascii=False, indent=2))


def _run_and_show(arguments: argparse.Namespace, show: Callable[[Any], None]) -> int:
    project = find_project(arguments.project)
    description = describe_apart(project, arguments.job)
    parameters = read_parameters(arguments.parameters, lambda: description.get("parameters"))
    if (size := size_of(parameters)) > MAX_PARAMETERS_BYTES:
        raise UsageError(
            f"parameters: {size} bytes of JSON, at most {MAX_PARAMETERS_BYTES} are taken"
        )
    missing = [name for name in description.get("secrets", ()) if name not in os.environ]
    if missing:
        raise ProjectError(
            f"{arguments.job} has secrets, which here come from the environment; set "
            + ", ".join(missing)
        )
    result_file = None if arguments.result is None else arguments.result.resolve()

    def on_result(result: Any) -> None:
        if result_file is not None:
            text = json.dumps(result, ensure_ascii=False, indent=2)
            result_file.write_text(text + "\n", encoding="utf-8")
        if result_file is None or arguments.json:
            show(result)

    tag = local_tag(project)
    if arguments.docker or not (arguments.process or not has_image(tag)):
        if arguments.docker and not docker_answers():
            note("usher: no Docker Engine answers; `--process` runs it without")
            return 2
        note(f"usher: building {tag}")
        build(project, tag, build_options(arguments))
        return run_in_docker(tag, description, parameters, on_result)
    return run_as_process(description, parameters, project, on_result, Limits())
