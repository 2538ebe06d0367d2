"""AWS credentials of a session with the rights of its user: the STS request and the answer. Pure.

A container gets them once its session has an owner, never while it is warm. They expire after
`DURATION_SECONDS`, the minimum of STS; the container renews them until its session ends.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.apps import App
from chalicelib.sessions.model import Session
from chalicelib.tags import tag_value

DURATION_SECONDS = 900
"""The minimum, because STS credentials cannot be revoked individually."""
MOST_IN_A_PERIOD = 30
"""Maximum number of requests of a container within `DURATION_SECONDS`; a container that renews
needs two."""
OWNER_TAG, APP_TAG, SESSION_TAG = "usher-owner", "usher-app", "usher-session"


def role_arn(session: Session, app: App, stage: str) -> str:
    """The role's ARN, in the partition and account of the session's task."""
    _, partition, _, _, account, _ = (session.task_arn or "").split(":", 5)
    return f"arn:{partition}:iam::{account}:role/usher-{stage}-user-{app.user_role}"


def assume_role_for(session: Session, app: App, stage: str) -> dict[str, Any]:
    """The AssumeRole request. Session tags identify the user; the app's policy limits the role."""
    request: dict[str, Any] = {
        "RoleArn": role_arn(session, app, stage),
        "RoleSessionName": f"usher-{session.id}",
        "DurationSeconds": DURATION_SECONDS,
        "Tags": [
            {"Key": OWNER_TAG, "Value": tag_value(session.owner or "")},
            {"Key": APP_TAG, "Value": session.app},
            {"Key": SESSION_TAG, "Value": session.id},
        ],
    }
    if app.user_policy is not None:
        request["Policy"] = json.dumps(json.loads(app.user_policy), separators=(",", ":"))
    return request


def show_credentials(answer: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """The answer to the container, in the format that the AWS SDKs read from an ECS agent.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    found = answer["Credentials"]
    return {
        "RoleArn": arn,
        "AccessKeyId": found["AccessKeyId"],
        "SecretAccessKey": found["SecretAccessKey"],
        "Token": found["SessionToken"],
        "Expiration": found["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
