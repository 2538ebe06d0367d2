"""The settings of a stage file, checked against the template. Pure.

`infra/stages/<stage>.toml`; docs/getting-started-on-aws.md describes the keys.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.jobs.judge import FARGATE_CANNOT
from infra.deploy.access import access_problems
from infra.supply.bases import pinned

ARCHITECTURES = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
"""Names of architectures in Lambda and ECS, with Docker's names."""

SET_HERE = {"Stage", "Architecture", "SessionImage", "S3PrefixList"}
"""Parameters of the template that the deployment sets."""

DEFAULT_BASE = "python:3.12-slim"
"""The default base image, as in session_handler/Dockerfile."""

IMAGE_NAME = "usher-session"
"""The apps file's name of the image that is built from this project."""

_KEYS = {"architecture", "base_image", "pinned", "region", "images", "parameters"}


class SettingsError(Exception):
    """The stage file is invalid; the message has every problem."""


@dataclass(frozen=True)
class Settings:
    """One deployment."""

    stage: str
    region: str
    architecture: str = "x86_64"
    base_image: str = DEFAULT_BASE
    images: Mapping[str, str] = field(default_factory=dict)
    """The registry's names of images by the apps file's names; this project's image needs no
    entry."""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def stack(self) -> str:
        """Name of the stack with all functions and containers."""
        return f"usher-{self.stage}"

    @property
    def foundation(self) -> str:
        """Name of the stack that must exist before."""
        return f"{self.stack}-foundation"

    @property
    def platform(self) -> str:
        """Docker's name of the architecture."""
        return ARCHITECTURES[self.architecture]

    @property
    def has_graders(self) -> bool:
        """Whether there are hosts for judges."""
        return self.parameters.get("Graders") == "ec2"

    @property
    def uses_fan_out(self) -> bool:
        """Whether sessions read the relayed feed, and need no AWS rights."""
        return self.parameters.get("Feed") == "valkey"


def parse_settings(
    document: Mapping[str, Any],
    *,
    stage: str,
    region: str | None,
    declared: Mapping[str, Any],
    digests: Mapping[str, str],
) -> Settings:
    """Parse a stage file. `declared` are the template's Parameters; `digests` of base images, by
    name and tag, are used if the file has a tag. Raises SettingsError.
    """
    problems = [f"{key}: unknown key" for key in sorted(set(document) - _KEYS)]
    parameters = document.get("parameters", {})
    problems += _parameter_problems(parameters, declared)
    texts = {name: _text(value) for name, value in parameters.items()}
    problems += access_problems(texts, declared)
    region = document.get("region", region)
    if not region:
        problems.append("region: not here, and AWS_REGION is not set either")
    architecture = document.get("architecture", "x86_64")
    if architecture not in ARCHITECTURES:
        problems.append(f"architecture: one of {', '.join(ARCHITECTURES)}")
    base_image = pinned(document.get("base_image", DEFAULT_BASE), digests)
    if document.get("pinned") and not re.search(r"@sha256:[0-9a-f]{64}$", base_image):
        problems.append(
            "base_image: this stage wants a digest; run `make locks` where Docker can pull it, or "
            "take it from `docker image inspect --format '{{index .RepoDigests 0}}' NAME`"
        )
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(
        stage=stage,
        region=str(region),
        architecture=architecture,
        base_image=base_image,
        images=dict(document.get("images", {})),
        parameters=texts,
    )


def _parameter_problems(parameters: Mapping[str, Any], declared: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, value in parameters.items():
        if name in SET_HERE:
            problems.append(f"parameters.{name}: is found out by the deployment")
        elif name not in declared:
            problems.append(f"parameters.{name}: the template has no such parameter")
        elif (wanted := declared[name].get("AllowedPattern")) and not re.fullmatch(
            wanted, _text(value)
        ):
            problems.append(f"parameters.{name}: must match {wanted}")
        elif name == "Graders" and value == "fargate":
            problems.append(f"parameters.Graders: {FARGATE_CANNOT}")
        elif name == "ReservedConcurrency" and _text(value) == "1":
            problems.append(f"parameters.{name}: 0, or at least 2, the least that a queue may have")
        elif (allowed := declared[name].get("AllowedValues")) and value not in allowed:
            problems.append(f"parameters.{name}: one of {', '.join(map(str, allowed))}")
    return problems


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
