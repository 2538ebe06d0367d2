"""Access to a deployment: callers and kinds of connection, from the stage file. Pure."""

from collections.abc import Mapping
from typing import Any

LIMITS = ("MaxSessions", "MaxSessionsPerOwner", "MaxRequestsPerSecond")
NEEDS = {"api_key": "ApiKeys", "jwt": "UserPoolArns"}
"""The parameter without which a mode accepts no caller."""

CHOICES = {
    "AuthMode": (
        "decide on authentication: api_key (with ApiKeys), iam or jwt (with UserPoolArns); none "
        "lets everyone have sessions at your expense, within limits, and closes jobs and schedules"
    ),
    "SessionUrlTemplate": (
        "decide how browsers connect: wss://… with a certificate, see "
        "docs/getting-started-on-aws.md, or ws://{ip}:{port}{path}, in clear text"
    ),
}
PLACEHOLDER = "example.org"


def access_problems(parameters: Mapping[str, str], declared: Mapping[str, Any]) -> list[str]:
    """Missing and contradictory settings; one entry a problem.

    `declared` are the template's Parameters: those without a default must be in `parameters`.
    """
    problems = [
        f"parameters.{name}: {CHOICES.get(name, 'is required')}"
        for name, declaration in declared.items()
        if _is_missing(name, declaration, parameters)
    ]
    mode = parameters.get("AuthMode", "")
    needed = NEEDS.get(mode)
    if needed and not parameters.get(needed):
        problems.append(f"parameters.{needed}: AuthMode {mode} accepts no caller without it")
    if mode == "none":
        problems += [
            f"parameters.{name}: 0 is no limit, which AuthMode none needs"
            for name in LIMITS
            if parameters.get(name) == "0"
        ]
    if PLACEHOLDER in parameters.get("SessionUrlTemplate", ""):
        problems.append(f"parameters.SessionUrlTemplate: {PLACEHOLDER} stands for your own domain")
    return problems


def _is_missing(name: str, declaration: Mapping[str, Any], parameters: Mapping[str, str]) -> bool:
    return name in CHOICES and "Default" not in declaration and not parameters.get(name)


def describe_access(parameters: Mapping[str, str], declared: Mapping[str, Any]) -> list[str]:
    """The permissions of callers in this deployment, one line each, for the deployment's output."""

    def value(name: str) -> str:
        return parameters.get(name) or str(declared.get(name, {}).get("Default", ""))

    limits = (
        f"{value('MaxSessions')} sessions, {value('MaxSessionsPerOwner')} of one owner, "
        f"{value('MaxRequestsPerSecond')} requests a second"
    )
    callers = {
        "none": "everyone on the internet",
        "api_key": "every client with one of the keys in ApiKeys",
        "iam": "every IAM principal that may call this API",
        "jwt": f"every user of {value('UserPoolArns')}",
    }[value("AuthMode")]
    lines = [f"sessions: {callers}, up to {limits} (0 = no limit)"]
    if value("AuthMode") == "none":
        lines.append("jobs and schedules: no caller, as AuthMode is none")
    else:
        operators = value("Operators") or "no caller: set Operators"
        lines.append(f"invoke jobs, read and stop their own runs: {callers}")
        lines.append(f"register jobs, change schedules, read and stop everything: {operators}")
        lines.append(f"read everything and change nothing: {value('Viewers') or 'no caller'}")
    if value("SessionUrlTemplate").startswith("ws:"):
        lines.append("connections of sessions: ws, in CLEAR TEXT, paths and data included")
    else:
        lines.append("connections of sessions: wss")
    where = "the router" if value("Access") == "router" else "containers"
    lines.append(f"ports of {where}: open to {value('ClientCidr')}")
    return lines
