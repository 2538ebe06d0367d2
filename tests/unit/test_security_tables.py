"""docs/security.md: each claim names tests that exist, and the tables of ports and credentials are
those of the code, the templates and the command lines.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from chalicelib.config import VARIABLES
from chalicelib.contract import Env
from chalicelib.contract.jobs import JobEnv
from local.aws.template import load_template
from local.cli import dev, up

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")
TEMPLATES = ("infra/template.yaml", "infra/router/template.yaml", "infra/foundation.yaml")
CARRIES = re.compile(
    r"KEY|PASSWORD|SECRET|TOKEN|CREDENTIAL|ROLE|FEED.*URL|UUID|CERT|Key|Password|Secret|Token"
)
NONE = {
    "TLS_CERT_FILE",  # public
    "CertificatesFileSystem",  # a place
    "CREDENTIALS_URL",  # an address
    "FEED_WRITE_URL",  # the name of a stream
    "TASK_SECURITY_GROUPS",
}


PARTIES = {
    "A visitor without a key",
    "A web page of another origin",
    "A session's client",
    "A session's container, taken over",
    "A job, and its author",
    "A stranger's program in a box",
    "The author of a folder that somebody else uses",
    "An owner",
    "A viewer",
    "An operator",
    "A host of judges that was taken over",
    "A part of the deployment, taken over",
    "A neighbour stage in the same account",
    "The user of a laptop, and the other users of it",
    "Somebody on the network",
    "A host",
    "Who reads logs and configuration",
    "Who makes a part of it",
}
LOCAL = "local: "


def section(heading: str) -> str:
    return re.split(r"^## ", SECURITY.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def table(heading: str) -> list[list[str]]:
    return rows_of(section(heading))


def parties() -> dict[str, list[list[str]]]:
    found = re.split(r"^### (.+)$", section("Parties"), flags=re.M)[1:]
    return dict(zip(found[::2], map(rows_of, found[1::2]), strict=True))


def test_every_party_has_what_it_can_and_what_it_cannot():
    found = parties()
    assert set(found) == PARTIES
    for party, rows in found.items():
        assert {row[0] for row in rows} <= {"can", "cannot"}, party
        assert all(len(row) == 3 and all(row) for row in rows), party
        assert "cannot" in {row[0] for row in rows}, party


def test_every_claim_names_tests_that_exist():
    """`FOLDER/test_x.py::test_name` below tests/, or a whole file; nothing but names of tests."""
    claims = [row for rows in parties().values() for row in rows]
    claims += table("Ports") + table("Credentials")
    assert len(claims) > 80
    for claim in claims:
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", claim[-1])
        assert named, claim
        assert re.fullmatch(r"(`[\w/.:]+`(, )?)+", claim[-1]), claim
        for path, function in named:
            text = (ROOT / "tests" / path).read_text("utf-8")
            assert not function or f"def {function}(" in text, claim


def test_every_attack_is_named_in_both_documents():
    attacks = {path.name for path in (ROOT / "tests" / "attacks").glob("test_*.py")}
    assert attacks <= set(re.findall(r"attacks/(test_\w+\.py)", SECURITY))
    threats = (ROOT / "tests" / "attacks" / "README.md").read_text("utf-8")
    assert attacks == set(re.findall(r"`(test_\w+\.py)`", threats))
    for elsewhere in re.findall(r"`\.\./([\w/]+\.py)`", threats):
        assert (ROOT / "tests" / elsewhere).is_file(), elsewhere


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
    deployed = {row[0] for row in table("Ports") if not row[1].startswith(LOCAL)}
    assert deployed == shown


def test_every_port_that_a_laptop_opens_is_in_the_table_with_its_default():
    """The two attacks of web pages test that the processes of a run listen on no other port."""
    defaults = argparse.ArgumentParser()
    dev.add_arguments(defaults)
    of_dev = defaults.parse_args([])
    named = {row[1].removeprefix(LOCAL): row[0] for row in table("Ports") if LOCAL in row[1]}
    assert named == {
        "dispatcher": of_dev.port,
        "AWS endpoint": of_dev.aws_port,
        "page of `usher dev`": str(of_dev.page_port),
        "Invoke port": "any",
        "Redis": "any",
        "gateway of the Docker network": "any",
        "sessions": "any",
    }
    of_up = argparse.ArgumentParser()
    up.add_arguments(of_up)
    chosen = of_up.parse_args([])
    assert {str(chosen.port), str(chosen.aws_port)} == {of_dev.port, of_dev.aws_port}


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
    assert all(len(row) == 6 and all(row) for row in table("Credentials"))
    assert all(len(row) == 5 and all(row) for row in table("Ports"))
