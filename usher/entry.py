"""`python -m usher.entry`: what a job's container runs, in the folder of its project.

python -m usher.entry                  for the dispatcher that its environment names
python -m usher.entry --local NAME     for `usher run`, which says the rest on stdin
"""

import os
import sys
from pathlib import Path

from chalicelib.contract.jobs import EXIT_NOT_RUN, TRACEPARENT, TRACES_ENDPOINT, JobEnv
from usher.dispatcher import Coordinator, Dispatcher
from usher.environment import forget_variable
from usher.log import say
from usher.protocol import Limits, SettingsError, announcement, read_settings
from usher.wrapper import Place, run_job


def main(arguments: list[str], limits: Limits) -> int:
    """Returns the exit code, in the container's main process and in the child that runs the job."""
    os.environ["PYTHONUNBUFFERED"] = "1"  # for processes that the job starts
    if arguments:
        from usher.local_entry import run_locally

        return run_locally(arguments, Path.cwd(), limits)
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        say(f"usher: not run: {error}")
        return EXIT_NOT_RUN
    # the job could make requests in the wrapper's name with it
    forget_variable(JobEnv.INVOCATION_KEY)
    coordinator: Coordinator = Dispatcher(settings, limits)
    if os.environ.get(TRACES_ENDPOINT) and os.environ.get(TRACEPARENT):
        from usher.traces import TracedCoordinator  # not imported by others

        coordinator = TracedCoordinator(coordinator, settings, os.environ)
    return run_job(announcement(settings), coordinator, Place(Path.cwd()), limits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Limits()))
