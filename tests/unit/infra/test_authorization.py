"""Every statement of every policy against AWS's service authorization reference.

`parliament` ships that reference: which resource types and condition keys each action supports. A
condition key that an action does not support never matches, so what the statement allows is denied.
"""

import json
from pathlib import Path

import parliament
import pytest

from infra.deploy.finish import finish
from local.aws.template import load_template
from tests.unit.infra.policies_of import policies_of

ROOT = Path(__file__).parents[3]
CLUSTER = "arn:aws:ecs:eu-west-1:123456789012:cluster/usher-dev"

REASONS = {
    (
        "RESOURCE_STAR",
        "cloudwatch:DescribeAlarms",
    ): "a search by prefix: AWS wants * for it",
    ("RESOURCE_STAR", "ec2:CreateNetworkInterface"): "Lambda wants it so for functions in a VPC",
    ("RESOURCE_STAR", "ec2:DeleteNetworkInterface"): "Lambda wants it so for functions in a VPC",
    ("RESOURCE_STAR", "ecs:ListTasks"): "its resource type is a host; a condition on the cluster",
}
"""Findings that stay. Those of the reference itself (an action without resource types) are none."""


def findings(document):
    """(what, which action or detail) of each finding."""
    found = set()
    for finding in parliament.analyze_policy_string(json.dumps(document)).findings:
        details = finding.detail if isinstance(finding.detail, list) else [str(finding.detail)]
        found |= {(finding.issue, str(detail)) for detail in details}
    return found


def all_policies(templates):
    for feed, template in templates.items():
        finished = finish(template, code="s3://b/c", architecture="x86_64")
        for where, document in policies_of(finished):
            yield f"{feed}: {where}", document
    for name in ("foundation.yaml", "router/template.yaml"):
        for where, document in policies_of(load_template((ROOT / "infra" / name).read_text())):
            yield f"{name}: {where}", document
    for path in sorted((ROOT / ".chalice").glob("policy-*.json")):
        yield path.name, json.loads(path.read_text("utf-8"))


def test_no_action_resource_or_condition_key_is_unknown_to_the_reference(templates):
    seen, unexplained = set(), {}
    for where, document in all_policies(templates):
        found = findings(document)
        seen |= found & set(REASONS)
        if found - set(REASONS):
            unexplained[where] = sorted(found - set(REASONS))
    assert unexplained == {}
    assert seen == set(REASONS), "a reason that nothing needs"


@pytest.mark.parametrize(
    ("statement", "issue"),
    [
        (
            {
                "Action": ["ecs:SubmitTaskStateChange"],
                "Resource": "*",
                "Condition": {"ArnEquals": {"ecs:cluster": CLUSTER}},
            },
            "UNKNOWN_CONDITION_FOR_ACTION",
        ),
        (
            {
                "Action": ["ecs:SubmitTaskStateChange"],
                "Resource": "arn:aws:ecs:eu-west-1:123456789012:container-instance/usher-dev/*",
            },
            "RESOURCE_MISMATCH",
        ),
        (
            {
                "Action": ["ecs:DeregisterTaskDefinition"],
                "Resource": "arn:aws:ecs:*:*:task-definition/usher-dev-job-*:*",
            },
            "RESOURCE_MISMATCH",
        ),
        ({"Action": ["ecs:SubmitTaskChange"], "Resource": "*"}, "UNKNOWN_ACTION"),
    ],
)
def test_the_judge_finds_what_is_wrong(statement, issue):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    assert issue in {kind for kind, _ in findings(document)}


def test_a_host_reports_its_tasks_by_the_cluster_and_polls_under_a_condition(templates):
    finished = finish(templates["kinesis"], code="s3://b/c", architecture="x86_64")
    document = dict(policies_of(finished))["HostRole.agent"]
    unconditional, conditional = [
        {a for s in document["Statement"] if ("Condition" in s) is wanted for a in s["Action"]}
        for wanted in (False, True)
    ]
    assert conditional >= {"ecs:Poll", "ecs:StartTelemetrySession"}
    submits = {a for a in unconditional if a.startswith("ecs:Submit")}
    assert len(submits) == 3
    for statement in document["Statement"]:
        if submits & set(statement["Action"]):
            assert statement["Resource"] == CLUSTER
