"""Stacks of CloudFormation: deploy, show changes, delete."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

POLL_SECONDS = 3.0
CAPABILITIES = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
UNCHANGED = ("didn't contain changes", "No updates are to be performed")
FRESH = {"REVIEW_IN_PROGRESS"}
"""States of a stack that was never created."""

DEAD = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}
"""States of a stack whose creation failed: it can only be deleted."""


class DeployError(Exception):
    """A step failed; the message has the reason and a remedy."""


class Stacks:
    """The stacks of an account and region through a boto3 CloudFormation client."""

    def __init__(
        self,
        cloudformation: Any,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cloudformation = cloudformation
        self._say = say
        self._sleep = sleep

    def outputs(self, stack: str) -> dict[str, str]:
        """The stack's outputs; empty if it does not exist."""
        found = self._find(stack)
        outputs = (found or {}).get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def parameter(self, stack: str, name: str) -> str:
        """The deployed value of a parameter; empty if it has none."""
        found = (self._find(stack) or {}).get("Parameters", [])
        return next((p["ParameterValue"] for p in found if p["ParameterKey"] == name), "")

    def deploy(self, stack: str, template: str, parameters: Mapping[str, str]) -> bool:
        """Update the stack to this template; False if nothing had to change.

        Raises DeployError with CloudFormation's first reason.
        """
        found = self._find(stack)
        if found and found["StackStatus"] in DEAD:
            self._say(f"{stack} never came to be ({found['StackStatus']}): deleting what is left")
            self.delete(stack)
            found = None
        started = self._last_event(stack) if found else None
        request = _request(stack, template, parameters)
        try:
            if found:
                self._cloudformation.update_stack(**request)
            else:
                self._cloudformation.create_stack(**request)
        except ClientError as error:
            if _says_unchanged(str(error)):
                return False
            raise
        self._follow(stack, started)
        return True

    def changes(self, stack: str, template: str, parameters: Mapping[str, str]) -> Sequence[str]:
        """The changes of a deployment, a line for each resource."""
        existed = self._find(stack) is not None
        name = self._change(stack, template, parameters, exists=existed)
        if name is None:
            return []
        lines: list[str] = []
        request = {"StackName": stack, "ChangeSetName": name}
        while True:
            answer = self._cloudformation.describe_change_set(**request)
            lines += [_line(change["ResourceChange"]) for change in answer["Changes"]]
            if not answer.get("NextToken"):
                break
            request["NextToken"] = answer["NextToken"]
        self._cloudformation.delete_change_set(StackName=stack, ChangeSetName=name)
        if not existed:
            self._cloudformation.delete_stack(StackName=stack)
        return sorted(lines)

    def delete(self, stack: str) -> None:
        """Delete the stack and wait; no error if it does not exist. Raises DeployError."""
        found = self._find(stack, even_fresh=True)
        if found is None:
            return
        stack_id = found["StackId"]
        self._cloudformation.delete_stack(StackName=stack)
        while True:
            status = self._cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]
            if status["StackStatus"] == "DELETE_COMPLETE":
                return
            if status["StackStatus"] == "DELETE_FAILED":
                raise DeployError(
                    f"{stack} could not be deleted: {status.get('StackStatusReason')}; remove what "
                    "it names by hand, then run this again"
                )
            self._sleep(POLL_SECONDS)

    def _find(self, stack: str, *, even_fresh: bool = False) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._cloudformation.describe_stacks(StackName=stack)["Stacks"][
                0
            ]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        fresh = found["StackStatus"] in FRESH and not even_fresh
        return None if fresh or found["StackStatus"] == "DELETE_COMPLETE" else found

    def _change(
        self, stack: str, template: str, parameters: Mapping[str, str], *, exists: bool
    ) -> str | None:
        """The name of a change set, or None if nothing would change."""
        name = f"usher-{int(time.time() * 1000)}"
        kind = "UPDATE" if exists else "CREATE"
        request = _request(stack, template, parameters)
        try:
            self._cloudformation.create_change_set(
                ChangeSetName=name, ChangeSetType=kind, **request
            )
        except ClientError as error:
            if _says_unchanged(str(error)):
                return None
            raise
        while True:
            answer = self._cloudformation.describe_change_set(StackName=stack, ChangeSetName=name)
            status, reason = answer["Status"], answer.get("StatusReason", "")
            if status in {"CREATE_PENDING", "CREATE_IN_PROGRESS"}:
                self._sleep(POLL_SECONDS)
                continue
            if status != "FAILED":
                return name
            self._cloudformation.delete_change_set(StackName=stack, ChangeSetName=name)
            if _says_unchanged(reason):
                return None
            raise DeployError(f"{stack}: CloudFormation refuses the template: {reason}")

    def _last_event(self, stack: str) -> str | None:
        events = self._cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        return events[0]["EventId"] if events else None

    def _follow(self, stack: str, since: str | None) -> None:
        reasons: list[str] = []
        while True:
            for event in self._news(stack, since):
                since = event["EventId"]
                status, logical = event["ResourceStatus"], event["LogicalResourceId"]
                if status.endswith("_FAILED"):
                    reasons.append(f"{logical}: {event.get('ResourceStatusReason', status)}")
                self._say(f"  {status.lower():28} {logical}")
            found = self._find(stack) or {"StackStatus": "DELETE_COMPLETE"}
            status = found["StackStatus"]
            if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
                return
            if not status.endswith("_IN_PROGRESS"):
                why = reasons[0] if reasons else found.get("StackStatusReason", status)
                raise DeployError(
                    f"{stack} is {status}, because {why}. CloudFormation has put back what was "
                    "before: mend the cause and run this again"
                )
            self._sleep(POLL_SECONDS)

    def _news(self, stack: str, since: str | None) -> list[dict[str, Any]]:
        """Events after `since`, oldest first."""
        events = self._cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        fresh = []
        for event in events:
            if event["EventId"] == since:
                break
            fresh.append(event)
        return fresh[::-1]


def _line(change: Mapping[str, Any]) -> str:
    replaced = ", REPLACED" if change.get("Replacement") == "True" else ""
    return (
        f"{change['Action'].lower():8} {change['LogicalResourceId']} "
        f"({change['ResourceType']}{replaced})"
    )


def _request(stack: str, template: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    where = (
        {"TemplateURL": template}
        if template.startswith("https://")
        else {"TemplateBody": Path(template).read_text("utf-8")}
    )
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    return {"StackName": stack, "Parameters": given, "Capabilities": CAPABILITIES, **where}


def _says_unchanged(output: str) -> bool:
    return any(known in output for known in UNCHANGED)
