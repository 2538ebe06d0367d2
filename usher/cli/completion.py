"""`usher completion SHELL`: the completion script, and the candidates for Tab."""

import argparse
import itertools
from collections.abc import Callable, Sequence

from usher.cli.common import note, out
from usher.cli.project import Commands
from usher.cli.text import did_you_mean
from usher.client import Client
from usher.errors import UsherError
from usher.transport import Patience

HIDDEN = "__complete"
"""`usher __complete WORD… PREFIX` prints the completions of PREFIX, one a line."""
PATIENCE = Patience(tries=1, request_seconds=1.0)
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@+=")
"""Characters that shells do not interpret in names."""

SCRIPTS = {
    "bash": """\
_usher() {
  local IFS=$'\\n'
  COMPREPLY=($(usher __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _usher usher
""",
    "zsh": """\
#compdef usher
_usher() {
  local -a found
  found=(${(f)"$(usher __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _usher usher
""",
    "fish": """\
function __usher_complete
    set -l words (commandline -opc) (commandline -ct)
    usher __complete $words[2..-1] 2>/dev/null
end
complete -c usher -f -a '(__usher_complete)'
""",
}


def add_commands(commands: Commands) -> None:
    """Describe the command line."""
    completion = commands.add_parser(
        "completion",
        help="the script that completes these commands in a shell",
        description="Print the script that completes commands, options and names of jobs, apps and "
        "schedules. bash: source <(usher completion bash); zsh: the same; fish: "
        "usher completion fish | source.",
    )
    completion.add_argument("shell", choices=sorted(SCRIPTS), metavar="SHELL", help="bash zsh fish")
    completion.set_defaults(run=_print)


def _print(arguments: argparse.Namespace) -> int:
    out(SCRIPTS[arguments.shell].rstrip("\n"))
    return 0


def complete(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Print the candidates for the last word; never fails."""
    *before, prefix = list(words) or [""]
    found = candidates(parser, before, prefix, known_names)
    found = [name for name in found if name.startswith(prefix) and SAFE.issuperset(name)]
    if found:
        out(*sorted(set(found)))
    return 0


def candidates(
    parser: argparse.ArgumentParser,
    before: Sequence[str],
    prefix: str,
    names: Callable[[str, str | None], list[str]],
) -> list[str]:
    """The possible next words: commands, options, choices, or names from `names(metavar, url)`."""
    words = list(before)
    while (below := _commands_of(parser)) is not None:
        if not words:
            return list(below)
        if words[0] not in below:
            return []
        parser = below[words.pop(0)]
    options = parser._option_string_actions
    if words and (option := options.get(words[-1])) is not None and option.nargs != 0:
        return _values(option, names, _url(words))
    if prefix.startswith("-"):
        return [name for name in options if name.startswith("--")]
    places = [action for action in parser._actions if not action.option_strings]
    taken = len(_positionals(words, options))
    if not places or (taken >= len(places) and places[-1].nargs not in {"*", "+"}):
        return []
    return _values(places[min(taken, len(places) - 1)], names, _url(words))


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser] | None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return None


def _positionals(words: Sequence[str], options: dict[str, argparse.Action]) -> list[str]:
    found, waiting = [], iter(words)
    for word in waiting:
        if not word.startswith("-"):
            found.append(word)
        elif word in options and options[word].nargs != 0:
            next(waiting, None)
    return found


def _values(
    action: argparse.Action, names: Callable[[str, str | None], list[str]], url: str | None
) -> list[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    return names(str(action.metavar), url)


def _url(words: Sequence[str]) -> str | None:
    for word, after in itertools.pairwise(words):
        if word == "--url":
            return after
    return None


LISTINGS = {
    "JOB": ("/jobs", "jobs", "name"),
    "APP": ("/apps", "apps", "name"),
    "ASSIGNMENT": ("/assignments?limit=50", "assignments", "id"),
    "SCHEDULE": ("/schedules", "schedules", "id"),
}
"""The listing with the names for a placeholder of the usage."""


def known_names(metavar: str, url: str | None) -> list[str]:
    """Names from the dispatcher, if it answers within a second."""
    if metavar not in LISTINGS:
        return []
    path, field, key = LISTINGS[metavar]
    try:
        document = Client(url, patience=PATIENCE).document(path)
    except UsherError:
        return []
    return [str(item.get(key)) for item in document.get(field, ()) if isinstance(item, dict)]


def note_if_unknown(metavar: str, name: str, url: str | None) -> None:
    """Report on stderr that nothing registered has the name, after an empty listing.

    Nothing is reported if the dispatcher does not list the names. Removed jobs and apps may still
    have records.
    """
    known = known_names(metavar, url)
    if known and name not in known:
        note(f"usher: no {metavar.lower()} is called {name!r}{did_you_mean(name, known)}")
