"""The tables of docs/security.md name every deployed port and every credential."""

import re
from pathlib import Path
from typing import Any

from chalicelib.config import VARIABLES
from chalicelib.contract import Env
from chalicelib.contract.jobs import JobEnv
from local.aws.template import load_template

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")
TEMPLATES = ("infra/template.yaml", "infra/router/template.yaml", "infra/foundation.yaml")
CARRIES = re.compile(
    r"KEY|PASSWORD|SECRET|TOKEN|CREDENTIAL|ROLE|FEED.*URL|UUID|CERT|Key|Password|Secret|Token"
)
NONE = {
    "TLS_CERT_FILE",  # public
    "CertificatesFileSystem",  # a place
    "TASK_SECURITY_GROUPS",
}


def table(heading: str) -> list[list[str]]:
    section = re.split(r"^## ", SECURITY.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def templates() -> list[dict[str, Any]]:
    return [load_template((ROOT / name).read_text("utf-8")) for name in TEMPLATES]


def rules(resource: dict[str, Any]) -> list[dict[str, Any]]:
    properties = resource.get("Properties", {})
    if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
        return [properties]
    return list(properties.get("SecurityGroupIngress", ()))


def test_every_port_that_a_security_group_opens_is_in_the_table_and_no_other():
    opened = {
        (rule["FromPort"], rule["ToPort"])
        for template in templates()
        for resource in template["Resources"].values()
        for rule in rules(resource)
    }
    shown = {f"{low}-{high}" if low != high else str(low) for low, high in opened}
    assert len(opened) >= 5
    assert {row[0] for row in table("Ports")} == shown | {"any"}


def test_every_variable_that_carries_a_credential_is_in_the_table():
    named = set(re.findall(r"`([^`]+)`", " ".join(row[1] for row in table("Credentials"))))
    variables = {*VARIABLES, *map(str, Env), *map(str, JobEnv)}
    assert {name for name in variables if CARRIES.search(name)} - NONE <= named
    parameters = {name for template in templates() for name in template.get("Parameters", {})}
    assert {name for name in parameters if CARRIES.search(name)} - NONE <= named
    secrets = {
        name
        for template in templates()
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::SecretsManager::Secret"
    }
    assert secrets
    assert secrets <= named
    assert named <= variables | parameters | secrets


def test_every_row_says_who_holds_it_what_it_opens_and_until_when():
    assert all(len(row) == 5 and all(row) for row in table("Credentials"))
    assert all(len(row) == 4 and all(row) for row in table("Ports"))
