"""`python -m local up`: the embedded cloud on one machine, until Ctrl-C.

stdout has one line, `READY {…}`, when everything answers; everything else goes to stderr.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from local.access import hosts_at, origin_of
from local.aws.forwarding import SERVICES, OtherService, parse_service
from local.background import keep_memory_together, no_garbage
from local.hosts.images import ImageSource, named_image
from local.leftovers import RunFolder, remove_dead_runs, runs_folder
from local.stopping import SignalHandlers

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FORCED = 130

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `up`."""
    add = parser.add_argument
    add(
        "--port",
        type=int,
        default=8000,
        metavar="P",
        help="the dispatcher's (default: 8000; 0 = any free one)",
    )
    add(
        "--aws-port",
        type=int,
        default=5000,
        metavar="P",
        help="that of all AWS services (default: 5000)",
    )
    add(
        "--runtime",
        choices=("auto", "docker", "process"),
        default="auto",
        help="what containers are (default: Docker's where an Engine answers, else processes)",
    )
    add(
        "--pool",
        type=int,
        metavar="N",
        help="keep at least N containers of the default app warm; READY waits up to 20 s for them. "
        "What has a rate, as what fills pools has, runs once at the start, then at its rate",
    )
    add(
        "--feed",
        type=feed_source,
        default="demo",
        metavar="WHAT",
        help="what flows through the stream: demo (default), none, or a file of JSON lines",
    )
    add(
        "--rate",
        type=float,
        metavar="R",
        help="records a second of --feed (default: 20 for demo, no limit for a file)",
    )
    add(
        "--feed-engine",
        choices=("auto", "redis", "direct"),
        default="auto",
        help="how records get to sessions: through a Redis of this run's own, or each session "
        "reads the stream by itself (default: redis where it is installed)",
    )
    add(
        "--allowed-origin",
        action="append",
        default=[],
        type=origin,
        metavar="ORIGIN",
        help="let pages of this origin, as http://localhost:3000, ask for sessions and connect to "
        "them; may be repeated",
    )
    add(
        "--allowed-host",
        action="append",
        default=[],
        type=host,
        metavar="NAME",
        help="answer requests for NAME or NAME:PORT too, as a tunnel or a proxy sends them; "
        "may be repeated",
    )
    add(
        "--aws-service",
        action="append",
        default=[],
        type=aws_service,
        metavar="NAME=URL",
        help="serve this AWS service from another emulator, as sqs=http://127.0.0.1:4566: its "
        f"calls are sent there; may be repeated; NAME is one of {', '.join(SERVICES)}",
    )
    add(
        "--assignment",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="put the assignment in DIR, under the folder's name; may be repeated",
    )
    add("--apps", type=Path, metavar="FILE", help="apps file (default: chalicelib/apps.toml)")
    add(
        "--image",
        action="append",
        default=[],
        type=image_source,
        metavar="NAME=DIR",
        help="build image NAME from DIR/Dockerfile, anew when a file there changed; repeatable",
    )
    add("--hosts", type=positive, default=2, metavar="N", help="how many hosts (default: 2)")
    add(
        "--host-cpu",
        type=positive,
        default=4096,
        metavar="UNITS",
        help="of each host, 1024 = one core (default: 4096)",
    )
    add(
        "--host-memory",
        type=positive,
        default=8192,
        metavar="MIB",
        help="of each host (default: 8192)",
    )
    add(
        "--start-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="let each task wait before it starts, as on a real host",
    )
    add(
        "--launch-type",
        choices=("ec2", "fargate"),
        default="ec2",
        help="of jobs that do not say (default: ec2); apps say theirs in the apps file",
    )
    add(
        "--capacity-provider",
        metavar="NAME",
        help="the hosts are those of a capacity provider with managed scaling, whose group is at "
        "its maximum size: where they are full, tasks wait in PROVISIONING",
    )
    add(
        "--zones",
        type=int,
        choices=(1, 2, 3),
        default=3,
        help="zones that the hosts are in (default: 3)",
    )
    add(
        "--auto-scaling",
        type=sizes,
        metavar="MIN:MAX",
        help="the hosts are of an Auto Scaling group of this size, which begins with --hosts: ECS "
        "managed scaling and the planner for hosts add and end them",
    )
    add(
        "--host-delay",
        type=not_negative,
        default=60.0,
        metavar="SECONDS",
        help="of a host that is added, until it is there (default: 60)",
    )
    add(
        "--allow-unprotected",
        action="store_true",
        help="start processes of images in other users' folders although the isolation that works "
        "here (see `isolation` of READY) does not protect your files from them",
    )
    add("--no-iam", action="store_true", help="do not check calls against policies")
    add("--no-throttling", action="store_true", help="ECS and Kinesis without their rates")
    add(
        "--index-lag",
        type=not_negative,
        default=0.0,
        metavar="SECONDS",
        help="DynamoDB's indexes show a write after a random time of up to so long, as on AWS "
        "(default: 0 = at once)",
    )
    add(
        "--task-lag",
        type=not_negative,
        default=0.0,
        metavar="SECONDS",
        help="ECS's ListTasks and DescribeTasks know of a new task after a random time of up to so "
        "long, as on AWS (default: 0 = at once)",
    )
    add("--lag-seed", type=int, default=0, metavar="N", help="of the random lags (default: 0)")
    add("--no-restart", action="store_true", help="do not replace a dispatcher that died")
    add(
        "--functions",
        choices=("shared", "lambda"),
        default="shared",
        help="shared: all functions run in one warm process (default); lambda: each in processes "
        "of its own, one request at a time, frozen between two, with the deployed limits",
    )
    add(
        "--function-concurrency",
        type=positive,
        metavar="N",
        help="with --functions lambda: processes of each function at most (default: 100)",
    )
    add(
        "--function-idle-seconds",
        type=float,
        metavar="S",
        help="with --functions lambda: an idle process is ended after so long (default: 300)",
    )
    add("--access-log", action="store_true", help="log the dispatcher's requests")
    add("--logs", type=Path, metavar="DIR", help="keep the logs there")
    add(
        "--project-dir",
        type=Path,
        metavar="DIR",
        help="another Chalice project, with its infra/template.yaml",
    )
    add("--json", action="store_true", help="progress as JSON lines instead of text")


def image_source(text: str) -> ImageSource:
    """The value of --image."""
    name, equals, folder = text.partition("=")
    context = Path(folder).resolve()
    if not name or not equals or not (context / "Dockerfile").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR with a Dockerfile in DIR")
    return named_image(name, context, changes=True)


def origin(text: str) -> str:
    """A value of --allowed-origin."""
    try:
        return origin_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def host(text: str) -> str:
    """A value of --allowed-host."""
    try:
        hosts_at(0, [text])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def aws_service(text: str) -> OtherService:
    """A value of --aws-service."""
    try:
        return parse_service(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def feed_source(text: str) -> str:
    """The value of --feed."""
    if text not in {"demo", "none"} and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is neither demo, none nor a file")
    return text


def positive(text: str) -> int:
    """An integer of at least one; ValueError otherwise."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def sizes(text: str) -> tuple[int, int]:
    """The value of --auto-scaling; ValueError unless it is MIN:MAX."""
    least, _, most = text.partition(":")
    found = int(least), int(most)
    if not 0 <= found[0] <= found[1]:
        raise ValueError(text)
    return found


def not_negative(text: str) -> float:
    """A finite number of at least zero; ValueError otherwise."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


class Signals:
    """SIGINT, SIGTERM and SIGHUP: the first requests the end, the second forces it.

    The first only sets `stop`, which the start checks between its steps: an exception at any point
    could leave an unregistered process behind.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()

    def install(self) -> None:
        """Take the signals from now on."""
        SignalHandlers((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._on_signal)

    def _on_signal(self, _number: int) -> None:
        if self.stop.is_set():
            print("forced to stop: the next start removes what is left", file=sys.stderr)
            sys.stderr.flush()
            os._exit(EXIT_FORCED)
        self.stop.set()


class Say:
    """Progress for display, on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        seconds = time.monotonic() - self._started
        if self._as_json:
            line = json.dumps({"seconds": round(seconds, 3), "message": text})
        else:
            line = f"{seconds:6.2f}  {text}"
        print(line, file=sys.stderr, flush=True)


Beside = Callable[[Any, threading.Event, Say], AbstractContextManager[None]]
"""Runs in parallel to the cloud: called with the cloud, the event that ends it, and the progress
function."""


def _nothing(_cloud: Any, _stop: threading.Event, _say: Say) -> AbstractContextManager[None]:
    return nullcontext()


def run(
    arguments: argparse.Namespace,
    beside: Beside = _nothing,
    secrets: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run until a signal. 0: ended on request, 1: could not start, 2: wrong usage.

    `secrets` are values of references, see `Options.secrets`.
    """
    say = Say(as_json=arguments.json)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="        %(message)s")
    signals = Signals()
    signals.install()
    keep_memory_together()
    # The import takes longer than anything else, and Ctrl-C should work meanwhile.
    with no_garbage():
        from local.cli.options import Listeners
        from local.cloud import Cloud, StopRequestedError
        from local.hosts.programs import RUN_VARIABLE

    options = replace(_options(arguments, secrets), log_streams=beside is _nothing)
    try:
        listeners = Listeners.bind(options)
    except OSError as error:
        print(
            f"port {error.filename} is in use or not allowed ({error.strerror}); "
            "choose others with --port and --aws-port, 0 means any free one",
            file=sys.stderr,
        )
        return EXIT_USAGE
    base = runs_folder()
    removed = remove_dead_runs(base, _REMOVERS)
    if removed:
        say(removed)
    folder = RunFolder.create(base)
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
    os.environ[RUN_VARIABLE] = folder.run_id  # marks all objects of the run
    cloud = Cloud(options, folder, listeners, say, signals.stop)
    given_up = False
    try:
        return _up(cloud, signals.stop, say, beside)
    except StopRequestedError:
        given_up = True
        return 0
    finally:
        cloud.close()
        if given_up:  # what the start was at was not waited for
            for remove in _REMOVERS.values():
                remove({"run": folder.run_id, "runtime": options.runtime})
        folder.remove()
        say("everything is stopped")


def _up(cloud: Any, stop: threading.Event, say: Say, beside: Beside) -> int:
    from chalicelib.contract.graders import GraderError
    from chalicelib.errors import ConfigurationError
    from local.aws.forwarding import UnreachableServiceError
    from local.aws.template import TemplateError
    from local.cloud import NotHealthyError
    from local.feed.engine import RelayError
    from local.feed.redis_server import NoRedisError
    from local.functions.dispatcher_process import DispatcherDiedError
    from local.hosts.machines import NoRuntimeError
    from usher.errors import UsherError

    try:
        with no_garbage():
            cloud.start()
    except (
        ConfigurationError,
        GraderError,
        NoRedisError,
        NoRuntimeError,
        TemplateError,
        NotHealthyError,
        RelayError,
        UnreachableServiceError,
        UsherError,
    ) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    except DispatcherDiedError as error:
        print(f"the dispatcher did not start; its last words:\n{error}", file=sys.stderr)
        return EXIT_FAILED
    cloud.run.tell(**cloud.ready)
    say(f"logs: {cloud.logs}")
    print("READY", json.dumps(cloud.ready), flush=True)
    for page in cloud.assignment_pages:
        say(f"an assignment to hand in to: {page}")
    say(f"open {cloud.ready['page']} in a browser; Ctrl-C stops everything")
    feeding = _start_feed(cloud, stop)
    with beside(cloud, stop, say):
        stop.wait()
    say("stopping; Ctrl-C again to force")
    if feeding:
        feeding.join(2.0)
    return 0


def _start_feed(cloud: Any, stop: threading.Event) -> threading.Thread | None:
    options = cloud.options
    if options.feed == "none":
        return None
    from local.feed.command import DEMO_RATE, feed_lines
    from local.feed.input import DEMO, open_lines
    from local.feed.sink import FeedError

    rate = options.rate or (DEMO_RATE if options.feed == DEMO else 0.0)

    def feed() -> None:
        try:
            with open_lines(options.feed, stop) as lines:
                feed_lines(lines, stream=cloud.stream, endpoint=cloud.aws_url, rate=rate, stop=stop)
        except (FeedError, OSError) as error:
            if not stop.is_set():
                log.warning("feed %s: %s", options.feed, error)

    thread = threading.Thread(target=feed, name="feed", daemon=True)
    thread.start()
    return thread


def _options(arguments: argparse.Namespace, secrets: Mapping[str, str]) -> Any:
    from local.cli.options import HOSTS_GROUP, ROOT, Options
    from local.hosts.machines import Size

    project_dir = (arguments.project_dir or ROOT).resolve()
    return Options(
        port=arguments.port,
        aws_port=arguments.aws_port,
        runtime=arguments.runtime,
        pool=arguments.pool,
        feed=arguments.feed,
        rate=arguments.rate,
        feed_engine=arguments.feed_engine,
        apps=arguments.apps,
        images=tuple(arguments.image),
        size=Size(arguments.hosts, arguments.host_cpu, arguments.host_memory, arguments.zones),
        start_delay_seconds=arguments.start_delay,
        launch_type=arguments.launch_type,
        capacity_provider=HOSTS_GROUP if arguments.auto_scaling else arguments.capacity_provider,
        hosts_between=arguments.auto_scaling,
        host_delay_seconds=arguments.host_delay,
        allow_unprotected=arguments.allow_unprotected,
        iam=not arguments.no_iam,
        throttling=not arguments.no_throttling,
        index_lag_seconds=arguments.index_lag,
        task_lag_seconds=arguments.task_lag,
        lag_seed=arguments.lag_seed,
        restart=not arguments.no_restart,
        logs=arguments.logs and arguments.logs.resolve(),
        project_dir=project_dir,
        template=project_dir / "infra" / "template.yaml",
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        access_log=arguments.access_log,
        functions=arguments.functions,
        function_concurrency=arguments.function_concurrency,
        function_idle_seconds=arguments.function_idle_seconds,
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.allowed_origin),
        assignments=tuple(arguments.assignment),
        aws_services=tuple(arguments.aws_service),
        secrets=secrets,
    )


def _remove_processes(facts: Mapping[str, Any]) -> int:
    from local.hosts.process import remove_leftovers

    return remove_leftovers([facts["run"]])


def _remove_containers(facts: Mapping[str, Any]) -> int | None:
    if facts.get("runtime") == "process":
        return 0
    from local.hosts.docker import docker_available, remove_leftovers

    if docker_available():
        return None if facts.get("runtime") == "docker" else 0
    return len(remove_leftovers(lambda run_id: run_id == facts["run"]))


_REMOVERS = {"processes": _remove_processes, "sets of containers": _remove_containers}
