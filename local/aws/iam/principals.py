"""The principal of a call, by its access key, and its policies: functions, hosts, tasks' roles.

The keys contain their principal and are not secret: they distinguish programs of one developer, and
do not authenticate. `local` is the developer, who may do everything.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.policies import rename
from local.aws.iam.policy import Statement, parse_policy
from local.aws.provision import ACCOUNT
from local.aws.sts import KEY as SESSION_KEY
from local.aws.sts import Sts
from local.aws.template import Place, Resolver, load_template

DEVELOPER_KEY = "local"
ALL_FUNCTIONS_KEY = "functions"
"""The principal of a dispatcher whose functions share a process; it has the permissions of all
functions.
"""

FUNCTION_KEY = "function-"
HOST_KEY = "host"
TASK_KEY = "ASIA"
"""Prefix of the keys that the credentials endpoint gives to tasks."""

SOURCE_STAGE = "dev"
JUDGE = "-judge"
"""Suffix of the judges' role, the only one in the network of graders."""
GRADERS_VPC = "vpc-of-graders"
EVERYTHING = parse_policy(
    {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}},
)


@dataclass(frozen=True)
class Principal:
    """The principal of a call, with its policies."""

    arn: str
    statements: tuple[Statement, ...]
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Condition keys of all its requests, in lower case."""
    limits: tuple[Statement, ...] | None = None
    """The statements of its session policy, which must allow each call too; None = no session
    policy.
    """
    token: str | None = None
    """The required X-Amz-Security-Token of its requests; None = not checked."""


def task_key(task_id: str) -> str:
    """The access key id of a task's role."""
    return f"{TASK_KEY}{task_id.upper().replace('-', '')[:16]:0<16}"


class Principals:
    """All principals of a stage."""

    def __init__(
        self,
        functions: Mapping[str, Sequence[Statement]],
        roles: Mapping[str, Sequence[Statement]],
        host_role: str | None,
        role_of_task: Callable[[str], str | None],
        sts: Sts | None = None,
    ) -> None:
        """`functions` by name; `roles` by the role's name; `role_of_task` returns the role's ARN of
        the task with this key.
        """
        self._roles = roles
        self._role_of_task = role_of_task
        self._sts = sts
        union = tuple(statement for each in functions.values() for statement in each)
        union = union or EVERYTHING
        self._fixed = {
            DEVELOPER_KEY: Principal(f"arn:aws:iam::{ACCOUNT}:user/developer", EVERYTHING),
            ALL_FUNCTIONS_KEY: Principal(_assumed("functions", "functions"), union),
        }
        for name, statements in functions.items():
            principal = Principal(_assumed(f"function-{name}", name), tuple(statements))
            self._fixed[FUNCTION_KEY + name] = principal
        if host_role is not None:
            self._fixed[HOST_KEY] = Principal(_assumed(host_role, "host"), tuple(roles[host_role]))

    def find(self, key: str) -> Principal | None:
        """The principal of an access key; None = the key is unknown."""
        if key in self._fixed:
            return self._fixed[key]
        if key.startswith(FUNCTION_KEY):
            name = key.removeprefix(FUNCTION_KEY)
            return Principal(_assumed(f"function-{name}", name), EVERYTHING)
        if key.startswith(SESSION_KEY):
            return self._assumed_session(key)
        role = self._role_of_task(key) if key.startswith(TASK_KEY) else None
        if role is None:
            return None
        name = role.rpartition("/")[2]
        network = {"aws:sourcevpc": (GRADERS_VPC,)} if name.endswith(JUDGE) else {}
        return Principal(_assumed(name, key), tuple(self._roles.get(name, ())), network)

    def _assumed_session(self, key: str) -> Principal | None:
        found = self._sts.find(key) if self._sts else None
        if found is None:
            return None
        session, role = found
        issued = datetime.fromtimestamp(session.issued_at, UTC).isoformat()
        context = {f"aws:principaltag/{k.lower()}": (v,) for k, v in session.tags.items()}
        return Principal(
            _assumed(session.role, session.name),
            role.statements if role else (),
            context | {"aws:tokenissuetime": (issued,)},
            session.limits,
            session.token,
        )


def _assumed(role: str, session: str) -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}"


def read_functions(project_dir: Path, stage: str) -> dict[str, tuple[Statement, ...]]:
    """The policy of each configured function, those of stage `dev` with this stage's names.

    A function without a policy file gets one from Chalice on AWS, by what it finds in the source;
    here it may do everything, and so may a function that is not configured. Raises PolicyError.
    """
    folder = project_dir / ".chalice"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    configured = config.get("stages", {}).get(SOURCE_STAGE, {}).get("lambda_functions", {})
    found = {}
    for name, facts in configured.items():
        file = facts.get("iam_policy_file")
        if file is None:
            found[name] = EVERYTHING
        else:
            text = (folder / file).read_text("utf-8")
            found[name] = parse_policy(json.loads(rename(text, stage)))
    return found


def read_roles(template: Path, stage: str, region: str) -> dict[str, tuple[Statement, ...]]:
    """The policies of each role of the template, by the role's name, or else its logical id.

    Conditions of resources are ignored: a role that a stage does not have is not used. Raises
    PolicyError, TemplateError.
    """
    document = load_template(template.read_text("utf-8"))
    resources = document["Resources"]

    def attribute(logical: str, wanted: str | None) -> str:
        if logical == "GradersVpc":
            return GRADERS_VPC
        resource = resources[logical]
        key, arn = _NAMED.get(resource["Type"], ("", f"unknown:::{logical}"))
        name = resolver.value(resource.get("Properties", {}).get(key) or f"usher-{stage}-{logical}")
        if wanted is None and resource["Type"] not in _REF_IS_ARN:
            return str(name)
        return f"arn:aws:{arn}".format(region=region, account=ACCOUNT, name=name)

    parameters = {
        name: "" for name, facts in document.get("Parameters", {}).items() if "Default" not in facts
    }
    resolver = Resolver(
        document,
        parameters | {"Stage": stage} if "Stage" in document.get("Parameters", {}) else parameters,
        Place(region, ACCOUNT, f"usher-{stage}"),
        attribute,
    )
    found: dict[str, tuple[Statement, ...]] = {}
    for logical, resource in resources.items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        properties = resource["Properties"]
        found[str(resolver.value(properties.get("RoleName", logical)))] = tuple(
            statement
            for policy in properties.get("Policies", ())
            for statement in parse_policy(resolver.value(policy["PolicyDocument"]))
        )
    return found


_NAMED: Mapping[str, tuple[str, str]] = {
    "AWS::DynamoDB::Table": ("TableName", "dynamodb:{region}:{account}:table/{name}"),
    "AWS::ECS::Cluster": ("ClusterName", "ecs:{region}:{account}:cluster/{name}"),
    "AWS::IAM::Role": ("RoleName", "iam::{account}:role/{name}"),
    "AWS::Kinesis::Stream": ("Name", "kinesis:{region}:{account}:stream/{name}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs:{region}:{account}:log-group:{name}:*"),
    "AWS::SQS::Queue": ("QueueName", "sqs:{region}:{account}:{name}"),
    "AWS::SecretsManager::Secret": (
        "Name",
        "secretsmanager:{region}:{account}:secret:{name}-??????",
    ),
}
"""The property with the physical name, and the ARN after `arn:aws:`."""

_REF_IS_ARN = {"AWS::SecretsManager::Secret"}


def host_role_of(roles: Mapping[str, Any]) -> str | None:
    """The role of EC2 hosts, where the template has one."""
    return "HostRole" if "HostRole" in roles else None
