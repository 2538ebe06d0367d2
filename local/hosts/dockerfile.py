"""Reads a Dockerfile for what a container of its image would run, without building it.

Follows https://docs.docker.com/reference/dockerfile/ for ARG, FROM, ENV, WORKDIR, USER, SHELL,
ENTRYPOINT and CMD; the other instructions are recognised and change nothing here. What a base
image from a registry would bring is not known: of a stage that starts from an earlier one, that
one's settings are inherited.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.hosts.dockerfile_words import NAME, BadLineError, as_one_word, split_words

REGISTRY_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of the images people start from; `ENV PATH=/x:$PATH` refers to it."""

WITH_HEREDOC = frozenset({"RUN", "COPY", "ADD"})
WITHOUT_EFFECT = WITH_HEREDOC | {
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "STOPSIGNAL",
    "VOLUME",
}

_DIRECTIVE = re.compile(r"^#\s*(syntax|escape|check)\s*=\s*(.*?)\s*$", re.IGNORECASE)
_HEREDOC = re.compile(r"(?<!<)<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_.]*)\2")


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about its containers, like `Config` in `docker image inspect`."""

    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    user: str | None = None
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    """ARGs before the first FROM and their defaults."""


class DockerfileError(Exception):
    """A Dockerfile that cannot be read; the message begins with `file:line:`."""


@dataclass(frozen=True)
class _Instruction:
    line: int
    keyword: str
    rest: str


def read_dockerfile(path: Path) -> ImageConfig:
    """Read the Dockerfile at `path`. Raises DockerfileError, also when there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DockerfileError(f"{path}:0: cannot be read: {error}") from error
    return parse_dockerfile(text, str(path))


def parse_dockerfile(text: str, name: str = "Dockerfile") -> ImageConfig:
    """The configuration of the last stage of `text`.

    Raises DockerfileError, whose message names the file as `name`.
    """
    build = _Build()
    line = 1
    try:
        for instruction in _instructions(text):
            line = instruction.line
            build.apply(instruction)
    except BadLineError as error:
        raise DockerfileError(f"{name}:{error.line or line}: {error}") from error
    if build.stage is None:
        raise DockerfileError(f"{name}:{line}: no FROM, so there is no image")
    return replace(build.stage, build_arguments=build.build_arguments)


def _instructions(text: str) -> Iterator[_Instruction]:
    """Logical lines: continuations joined, comments, empty lines and heredoc bodies left out."""
    lines = text.removeprefix("\ufeff").splitlines()
    at = _skip_directives(lines)
    while at < len(lines):
        start = at
        if not _is_content(lines[at]):
            at += 1
            continue
        parts: list[str] = []
        while at < len(lines):
            current = lines[at]
            at += 1
            if not _is_content(current):
                continue
            stripped = current.rstrip()
            if not stripped.endswith("\\"):
                parts.append(current)
                break
            parts.append(stripped[:-1])
        keyword, _, rest = "".join(parts).strip().partition(" ")
        keyword, tab, more = keyword.partition("\t")
        rest = (more + tab + rest).strip()
        if keyword.upper() in WITH_HEREDOC:
            at = _skip_heredocs(lines, at, rest)
        yield _Instruction(start + 1, keyword.upper(), rest)


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _skip_directives(lines: list[str]) -> int:
    """Parser directives stand before everything else; of these only `escape` would matter."""
    for at, line in enumerate(lines):
        match = _DIRECTIVE.match(line)
        if not match:
            return at
        if match[1].lower() == "escape" and match[2] != "\\":
            raise BadLineError("the escape character must be the backslash", at + 1)
    return len(lines)


def _skip_heredocs(lines: list[str], at: int, rest: str) -> int:
    begin = at
    for match in _HEREDOC.finditer(rest):
        while at < len(lines):
            line = lines[at].lstrip("\t") if match[1] else lines[at]
            at += 1
            if line == match[3]:
                break
        else:
            raise BadLineError(f"the heredoc {match[3]} has no end", begin)
    return at


class _Build:
    """What the instructions so far amount to."""

    def __init__(self) -> None:
        self.stage: ImageConfig | None = None
        self.build_arguments: dict[str, str] = {}
        self._stages: dict[str, ImageConfig] = {}
        self._name: str | None = None
        self._arguments: dict[str, str] = {}
        self._shell: tuple[str, ...] = ("/bin/sh", "-c")
        self._has_command = False
        self._handlers: Mapping[str, Callable[[ImageConfig, str], ImageConfig]] = {
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "USER": self._user,
            "SHELL": self._set_shell,
            "ENTRYPOINT": self._entry_point,
            "CMD": self._command,
        }

    def apply(self, instruction: _Instruction) -> None:
        keyword, rest = instruction.keyword, instruction.rest
        if keyword in WITHOUT_EFFECT:
            self._stage_of(keyword)
        elif not rest:
            raise BadLineError(f"{keyword} needs an argument")
        elif keyword == "FROM":
            self._from(rest)
        elif keyword == "ARG":
            self._arg(rest)
        elif keyword in self._handlers:
            self.stage = self._handlers[keyword](self._stage_of(keyword), rest)
            self._keep()
        else:
            raise BadLineError(f"unknown instruction {keyword!r}")

    def _stage_of(self, keyword: str) -> ImageConfig:
        if self.stage is None:
            raise BadLineError(f"{keyword} before the first FROM")
        return self.stage

    def _keep(self) -> None:
        if self._name and self.stage is not None:
            self._stages[self._name] = self.stage

    def _from(self, rest: str) -> None:
        words = [word for word in split_words(rest, self.build_arguments) if word[:2] != "--"]
        if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
            raise BadLineError("FROM takes an image, and AS with a name")
        inherited = self._stages.get(words[0].lower())
        self.stage = inherited or ImageConfig(environment={"PATH": REGISTRY_PATH})
        self._name = words[2].lower() if len(words) == 3 else None
        self._arguments = {}
        self._shell = ("/bin/sh", "-c")
        self._has_command = False
        self._keep()

    def _arg(self, rest: str) -> None:
        for word in split_words(rest, self._variables()):
            name, given, value = word.partition("=")
            if not NAME.fullmatch(name):
                raise BadLineError(f"{name!r} is no name for an ARG")
            if self.stage is None:
                self.build_arguments[name] = value
            elif given:
                self._arguments[name] = value
            elif name in self.build_arguments:
                self._arguments[name] = self.build_arguments[name]

    def _variables(self) -> dict[str, str]:
        if self.stage is None:
            return self.build_arguments
        return {**self._arguments, **self.stage.environment}

    def _env(self, stage: ImageConfig, rest: str) -> ImageConfig:
        variables = self._variables()
        first = rest.split(maxsplit=1)[0]
        if "=" not in first:
            _, _, value = rest.partition(first)
            if not value.strip():
                raise BadLineError(f"ENV {first} has no value")
            added = {first: as_one_word(value.strip(), variables)}
        else:
            added = {}
            for word in split_words(rest, variables):
                name, given, value = word.partition("=")
                if not given or not name:
                    raise BadLineError(f"{word!r} is not NAME=VALUE")
                added[name] = value
        return replace(stage, environment={**stage.environment, **added})

    def _workdir(self, stage: ImageConfig, rest: str) -> ImageConfig:
        directory = as_one_word(rest, self._variables())
        joined = posixpath.normpath(posixpath.join(stage.working_directory, directory))
        return replace(stage, working_directory="/" + joined.lstrip("/"))

    def _user(self, stage: ImageConfig, rest: str) -> ImageConfig:
        return replace(stage, user=as_one_word(rest, self._variables()))

    def _set_shell(self, stage: ImageConfig, rest: str) -> ImageConfig:
        shell = _exec_form(rest)
        if not shell:
            raise BadLineError("SHELL takes a JSON list of strings")
        self._shell = shell
        return stage

    def _entry_point(self, stage: ImageConfig, rest: str) -> ImageConfig:
        # A CMD from a base image belongs to that image's ENTRYPOINT and goes with it.
        command = stage.command if self._has_command else ()
        return replace(stage, entry_point=self._program(rest), command=command)

    def _command(self, stage: ImageConfig, rest: str) -> ImageConfig:
        self._has_command = True
        return replace(stage, command=self._program(rest))

    def _program(self, rest: str) -> tuple[str, ...]:
        program = _exec_form(rest)
        return (*self._shell, rest) if program is None else program


def _exec_form(rest: str) -> tuple[str, ...] | None:
    """The words of a JSON list of strings; None for anything else, which is the shell form."""
    try:
        words = json.loads(rest)
    except ValueError:
        return None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return None
