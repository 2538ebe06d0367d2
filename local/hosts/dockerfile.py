"""Parses a Dockerfile to determine the program of its image, without building it.

Follows https://docs.docker.com/reference/dockerfile/ for ARG, FROM, ENV, WORKDIR, USER, SHELL,
COPY, ENTRYPOINT and CMD; other instructions are recognised and have no effect. A stage inherits the
settings of the earlier stage that it starts from, or of a known base image; those of a base image
from a registry are unknown.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.hosts.dockerfile_tokens import NAME, BadLineError, as_one_word, split_tokens

REGISTRY_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of the images people start from; `ENV PATH=/x:$PATH` refers to it."""

WITH_HEREDOC = frozenset({"RUN", "COPY", "ADD"})
WITHOUT_EFFECT = {
    "ADD",
    "RUN",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "STOPSIGNAL",
}

_DIRECTIVE = re.compile(r"^#\s*(syntax|escape|check)\s*=\s*(.*?)\s*$", re.IGNORECASE)
_HEREDOC = re.compile(r"(?<!<)<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_.]*)\2")


@dataclass(frozen=True)
class ImageConfig:
    """An image's settings for its containers, such as `Config` in `docker image inspect`."""

    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    user: str | None = None
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    """ARGs before the first FROM and their defaults."""
    base: str | None = None
    """The image that the last stage is built on, through the earlier stages it starts from."""
    copied: tuple[tuple[str, str], ...] = ()
    """Copies of the last stage from the build context: source, and absolute destination."""
    volumes: frozenset[str] = frozenset()
    """The paths that VOLUME names."""


BaseConfig = Callable[[str], ImageConfig | None]
"""The configuration of a base image by its name; None when it is not known."""


class DockerfileError(Exception):
    """A Dockerfile that cannot be read; the message begins with `file:line:`."""


@dataclass(frozen=True)
class _Instruction:
    """Stands in the lines `line` to `last_line`, counted from 1."""

    line: int
    last_line: int
    keyword: str
    rest: str


def _no_base(image: str) -> ImageConfig | None:
    del image
    return None


def read_dockerfile(path: Path, base_config: BaseConfig = _no_base) -> ImageConfig:
    """Parse the Dockerfile at `path`. Raises DockerfileError, also if it does not exist."""
    return parse_dockerfile(read_text(path), str(path), base_config)


def read_text(path: Path) -> str:
    """The text of the Dockerfile at `path`. Raises DockerfileError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DockerfileError(f"{path}:0: cannot be read: {error}") from error


def parse_dockerfile(
    text: str, name: str = "Dockerfile", base_config: BaseConfig = _no_base
) -> ImageConfig:
    """The configuration of the last stage of `text`.

    Raises DockerfileError, whose message names the file as `name`.
    """
    build = _Build(base_config)
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


def replace_bases(text: str, replacements: Mapping[str, str]) -> str:
    """The Dockerfile with other base images: each FROM that names a key of `replacements`, as a
    word or through an ARG, gets its value. Line numbers do not change.

    `text` is one that `parse_dockerfile` accepts.
    """
    build = _Build(_no_base)
    lines = text.splitlines()
    for instruction in _instructions(text):
        build.apply(instruction)
        image = build.stage_base if instruction.keyword == "FROM" else None
        if image is not None and image in replacements:
            tokens = instruction.rest.split()
            at = next(i for i, word in enumerate(tokens) if not word.startswith("--"))
            tokens[at] = replacements[image]
            rest = [""] * (instruction.last_line - instruction.line)
            lines[instruction.line - 1 : instruction.last_line] = [
                f"FROM {' '.join(tokens)}",
                *rest,
            ]
    return "\n".join(lines) + "\n"


def bases_of(text: str) -> frozenset[str]:
    """The images that the stages of a Dockerfile start from, other stages left out.

    `text` is one that `parse_dockerfile` accepts.
    """
    build = _Build(_no_base)
    bases = set()
    for instruction in _instructions(text):
        build.apply(instruction)
        if instruction.keyword == "FROM" and build.stage_base is not None:
            bases.add(build.stage_base)
    return frozenset(bases)


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
        last_line = at
        keyword, _, rest = "".join(parts).strip().partition(" ")
        keyword, tab, more = keyword.partition("\t")
        rest = (more + tab + rest).strip()
        if keyword.upper() in WITH_HEREDOC:
            at = _skip_heredocs(lines, at, rest)
        yield _Instruction(start + 1, last_line, keyword.upper(), rest)


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _skip_directives(lines: list[str]) -> int:
    """Parser directives come first; of these only `escape` would have an effect."""
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
    """The state after the instructions so far."""

    def __init__(self, base_config: BaseConfig) -> None:
        self.stage: ImageConfig | None = None
        self.stage_base: str | None = None
        """The image that the stage starts from; None where that is another stage."""
        self.build_arguments: dict[str, str] = {}
        self._base_config = base_config
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
            "COPY": self._copy,
            "VOLUME": self._volume,
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
        tokens = [word for word in split_tokens(rest, self.build_arguments) if word[:2] != "--"]
        if len(tokens) not in {1, 3} or (len(tokens) == 3 and tokens[1].upper() != "AS"):
            raise BadLineError("FROM takes an image, and AS with a name")
        self.stage = self._stages.get(tokens[0].lower())
        self.stage_base = None
        if self.stage is None:
            self.stage_base = tokens[0]
            known = self._base_config(tokens[0]) or ImageConfig(environment={"PATH": REGISTRY_PATH})
            self.stage = replace(known, base=tokens[0], copied=(), build_arguments={})
        self._name = tokens[2].lower() if len(tokens) == 3 else None
        self._arguments = {}
        self._shell = ("/bin/sh", "-c")
        self._has_command = False
        self._keep()

    def _arg(self, rest: str) -> None:
        for word in split_tokens(rest, self._variables()):
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
            for word in split_tokens(rest, variables):
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

    def _copy(self, stage: ImageConfig, rest: str) -> ImageConfig:
        tokens = _exec_form(rest) or split_tokens(rest, self._variables())
        options = [word for word in tokens if word.startswith("--")]
        paths = [word for word in tokens if not word.startswith("--")]
        if any(word.startswith("--from=") for word in options) or any("<<" in p for p in paths):
            return stage
        if len(paths) < 2:
            raise BadLineError("COPY takes a source and a destination")
        target = posixpath.normpath(posixpath.join(stage.working_directory, paths[-1]))
        added = tuple((posixpath.normpath(source), target) for source in paths[:-1])
        return replace(stage, copied=stage.copied + added)

    def _volume(self, stage: ImageConfig, rest: str) -> ImageConfig:
        paths = _exec_form(rest) or split_tokens(rest, self._variables())
        return replace(stage, volumes=stage.volumes | frozenset(paths))

    def _set_shell(self, stage: ImageConfig, rest: str) -> ImageConfig:
        shell = _exec_form(rest)
        if not shell:
            raise BadLineError("SHELL takes a JSON list of strings")
        self._shell = shell
        return stage

    def _entry_point(self, stage: ImageConfig, rest: str) -> ImageConfig:
        # A CMD from a base image belongs to that image's ENTRYPOINT and is removed with it.
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
        tokens = json.loads(rest)
    except ValueError:
        return None
    if isinstance(tokens, list) and all(isinstance(word, str) for word in tokens):
        return tuple(tokens)
    return None
