"""The exit codes of each command, for its --help and for docs/commands.md."""

import argparse
from collections.abc import Iterator, Mapping

OK, FAILED, WRONG_USE, GRADER_FAILED, STILL_RUNNING, INTERRUPTED = 0, 1, 2, 3, 124, 130
_LOCAL = {OK: "done", WRONG_USE: "wrong use, or something is wrong in the project"}
_USUAL = {
    OK: "done",
    FAILED: "refused, or the dispatcher does not answer",
    WRONG_USE: "wrong use",
}
_RUN = {
    OK: "asked for; with --wait and --follow: the run succeeded",
    FAILED: "refused, or the dispatcher does not answer; the run did not succeed",
}
_MARKS = {
    OK: "full marks",
    FAILED: "fewer marks",
    WRONG_USE: "wrong use, or something is wrong in the grader's files",
    GRADER_FAILED: "the grader failed",
}
_INTERRUPTED = {INTERRUPTED: "interrupted by Ctrl-C"}

EXIT_CODES: Mapping[str, Mapping[int, str]] = {
    "new": _LOCAL,
    "list": {**_LOCAL, FAILED: "something is wrong in the project"},
    "describe": _LOCAL,
    "run": {
        **_LOCAL,
        OK: "the job's own code, 0 if it succeeded",
        FAILED: "the job failed",
        STILL_RUNNING: "its time was up",
        INTERRUPTED: "interrupted by Ctrl-C",
    },
    "dev": {OK: "ended by Ctrl-C", FAILED: "it did not start", WRONG_USE: "wrong use"},
    "deploy": {
        **_USUAL,
        OK: "registered; with a warm pool: proven",
        FAILED: "refused, or no container became ready",
        WRONG_USE: "wrong use, or something is wrong in the project",
    },
    "rollback": {**_USUAL, FAILED: "refused, or no container became ready"},
    "invoke": {**_USUAL, **_RUN},
    "wait": {
        **_USUAL,
        OK: "the run succeeded",
        FAILED: "the run did not succeed, or there is none",
        STILL_RUNNING: "--timeout: the run goes on",
    },
    "kill": {**_USUAL, FAILED: "refused, one of them at least"},
    "grade": _MARKS,
    "grader check": {
        OK: "all get what they expect",
        FAILED: "one does not, or there are no solutions",
        WRONG_USE: "wrong use, or something is wrong in the grader's files",
    },
    "submit": {
        **_USUAL,
        OK: "handed in; with --follow: full marks",
        FAILED: "refused; with --follow: fewer marks",
        GRADER_FAILED: "--follow: the grader failed",
    },
    "assignment prepare": {
        **_USUAL,
        OK: "asked for; with --follow: the images are prepared",
        GRADER_FAILED: "they cannot be used",
    },
    "completion": {OK: "done", WRONG_USE: "wrong use"},
    **dict.fromkeys(
        (
            *("apps", "sessions", "hosts", "capacity", "open", "explain", "top", "tail"),
            *("show", "invocations", "rerun", "logs", "audit"),
            *(f"schedule {verb}" for verb in ("put", "list", "show", "pause", "resume", "run")),
            "schedule delete",
            *(f"assignment {verb}" for verb in ("put", "list", "show", "regrade", "remove")),
        ),
        _USUAL,
    ),
}
"""Exit codes by the words of the command. `codes_of` adds that of Ctrl-C."""


def codes_of(command: str) -> dict[int, str]:
    """All codes of a command, the lowest first."""
    return dict(sorted({**_INTERRUPTED, **EXIT_CODES[command]}.items()))


def commands_of(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command with its parser, not the groups of commands such as `schedule`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands_of(below, (*path, word))
            return
    yield " ".join(path), parser


def add_exit_codes(parser: argparse.ArgumentParser) -> None:
    """Add the exit codes to the end of the help of each command."""
    for command, below in commands_of(parser):
        codes = "; ".join(f"{code} {meaning}" for code, meaning in codes_of(command).items())
        more = f"{below.epilog} " if below.epilog else ""
        below.epilog = f"{more}Exit codes: {codes}."
