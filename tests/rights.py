"""The rights of each function of the deployment, for AWS calls that a laboratory makes in-process.

A call belongs to the functions whose handlers come to the service that began it: the outermost
frame of the dispatcher. `entry_points` reads off the source which these are. Each call is decided
by the policies in `.chalice`, resource by resource, as the embedded cloud decides.
"""

import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.policies import rename
from local.aws.iam.accesses import Access, Asked, accesses
from local.aws.iam.authorizer import used_by
from local.aws.iam.policy import Statement, parse_policy
from local.aws.provision import ACCOUNT
from tests.unit.infra.code_calls import entry_points, read_code

ROOT = Path(__file__).parents[1]
OF_DISPATCHER = str(ROOT / "chalicelib")
IDS = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids in ARNs of tasks and hosts; policies do not tell them apart."""
RECORDED = ROOT / "tests" / "integration" / "rights.json"
BEGUN_BESIDE = {"Launches.start_for_pool": frozenset({"launch_queued", "sweep"})}
"""Begun in threads, whose outermost frame is no handler's: by whom."""
USED: dict[str, set[str]] = {}
"""By function, the rights that the laboratories of this process used, named as in stage `dev`."""


class MissingRightError(BaseException):
    """A function's policy does not allow a call; no code of the dispatcher catches it."""


@cache
def policy_of(function: str, stage: str = "dev") -> tuple[Statement, ...]:
    """The statements of a function's policy, with the names of a stage's resources."""
    path = ROOT / ".chalice" / f"policy-dev-{function.replace('_', '-')}.json"
    return parse_policy(json.loads(rename(path.read_text("utf-8"), stage)))


def rights_of(function: str) -> set[str]:
    """`dynamodb:GetItem arn:…` of all statements: one text for each action and resource."""
    return {
        f"{action} {resource}"
        for statement in policy_of(function)
        for action in statement.actions
        for resource in statement.resources
    }


def recorded() -> dict[str, dict[str, list[str]]]:
    """The rights that were used, by where, and by function."""
    return dict(json.loads(RECORDED.read_text("utf-8"))) if RECORDED.exists() else {}


def record(where: str, used: Mapping[str, Collection[str]]) -> None:
    """Write the rights that were used in a place: `laboratory` or `flows`."""
    found = {function: sorted(rights) for function, rights in sorted(used.items())}
    RECORDED.write_text(json.dumps(recorded() | {where: found}, indent=1) + "\n", "utf-8")


class Rights:
    """Decides calls, and records in USED which rights of which function they used."""

    def __init__(
        self, stage: str, task_definition: Callable[[str], Mapping[str, Any] | None], region: str
    ) -> None:
        self._stage = stage
        self._task_definition = task_definition
        self._region = region
        self._entries = _entries()
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def check(self, service: str, action: str, parameters: Mapping[str, Any]) -> None:
        """Raise MissingRightError unless each function that can be making this call may."""
        functions = self._entries.get(_outermost(), frozenset())
        if not functions:
            return
        asked = Asked(
            action,
            parameters,
            self._region,
            ACCOUNT,
            self._task_definition,
            lambda _: f"usher-{self._stage}-hosts",  # the one group that a laboratory has
        )
        for access in accesses(service, asked):
            for function in sorted(functions):
                self._decide(function, access)

    def _decide(self, function: str, access: Access) -> None:
        resource = IDS.sub("0" * 32, access.resource)
        key = (function, f"{access.action} {resource} {sorted(access.context.items())}")
        if key not in self._known:
            rights = used_by(policy_of(function, self._stage), access, access.context)
            if not rights:
                raise MissingRightError(
                    f"{function} may not {access.action} on {access.resource}: add it to its"
                    f" policy in .chalice, or make no such call"
                )
            self._known[key] = frozenset(named_as_in_dev(text, self._stage) for text in rights)
            USED.setdefault(function, set()).update(self._known[key])


def named_as_in_dev(right: str, stage: str) -> str:
    """A right with the names of stage `dev`."""
    right = re.sub(rf"\busher-{stage}(?![a-z0-9])", "usher-dev", right)
    return re.sub(rf"/usher/{stage}\b", "/usher/dev", right)


@cache
def _entries() -> Mapping[str, frozenset[str]]:
    return entry_points(read_code()) | BEGUN_BESIDE


def _outermost() -> str:
    """The qualified name of the dispatcher's outermost function; empty for a call of a test."""
    found, frame = "", sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(OF_DISPATCHER):
            found = frame.f_code.co_qualname
        frame = frame.f_back  # type: ignore[assignment]
    return found
