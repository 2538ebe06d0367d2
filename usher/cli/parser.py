"""Options and positional words of a command in any order.

argparse assigns to a list such as `PARAMETERS …` only consecutive words and refuses the others:
`invoke JOB --follow name=Ada` would be an error.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from usher.cli.text import did_you_mean

ALIASES = {
    "cancel": "kill",
    "init": "new",
    "jobs": "list",
    "ps": "top",
    "runs": "invocations",
    "status": "show",
    "stop": "kill",
}
"""Words that users may try, and the corresponding command."""
_NUMBER = re.compile(r"-[0-9.].*")


class SuggestingParser(argparse.ArgumentParser):
    """A parser that suggests the most similar commands for an unknown one."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        is_command = isinstance(action, argparse._SubParsersAction)
        if is_command and action.choices is not None and value not in action.choices:
            self._refuse(str(value), list(action.choices))
        super()._check_value(action, value)

    def _refuse(self, word: str, commands: Iterable[str]) -> NoReturn:
        commands = list(commands)
        alias = ALIASES.get(word)
        meant = f"; did you mean {alias!r}?" if alias in commands else did_you_mean(word, commands)
        there = meant or f"; there are: {', '.join(commands)}"
        self.error(f"{self.prog} has no command {word!r}{there}")


class CommandParser(SuggestingParser):
    """The parser of one command whose options take one value or none."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse like argparse, after the options were put before the other words. Unknown words are
        refused with the usage of this command.
        """
        arguments = list(args or ())
        if self._subparsers is not None:  # the rest is the next command's
            return super().parse_known_args(arguments, namespace)
        known, others = super().parse_known_args(self._in_order(arguments), namespace)
        others = [word for word in others if word != "--"]  # of _in_order
        if others:
            self.error(f"unrecognized arguments: {' '.join(others)}{self._meant(others[0])}")
        return known, others

    def _meant(self, word: str) -> str:
        name = word.partition("=")[0]
        return did_you_mean(name, [n for n in self._option_string_actions if n.startswith("--")])

    def _in_order(self, arguments: list[str]) -> list[str]:
        """A word after `--`, a single `-` and a negative number are not options."""
        options: list[str] = []
        others: list[str] = []
        waiting = iter(arguments)
        for word in waiting:
            if word == "--":
                others += waiting
            elif not word.startswith("-") or word == "-" or _NUMBER.fullmatch(word):
                others.append(word)
            else:
                options.append(word)
                if self._takes_the_next_word(word):
                    options += [value for value in [next(waiting, None)] if value is not None]
        return [*options, "--", *others] if others else options

    def _takes_the_next_word(self, word: str) -> bool:
        name, has_value, _ = word.partition("=")
        known = self._option_string_actions
        meant = [known[name]] if name in known else [known[n] for n in known if n.startswith(name)]
        return not has_value and bool(meant) and meant[0].nargs != 0
