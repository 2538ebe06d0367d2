"""Settings that a stage file must contain, and a deployment's messages about them."""

import tomllib

import pytest

from infra.deploy.__main__ import ROOT, declared_parameters, load_settings
from infra.deploy.access import describe_access
from infra.deploy.settings import SettingsError, parse_settings

DECIDED = {
    "AuthMode": "iam",
    "SessionUrlTemplate": "wss://{dashed_ip}.sessions.example.net:{port}{path}",
}
UNITS_OF_A_HOST, SHIPPED_APP = 2_048, 128
"""t3.large and t4g.large have two cores; CPU is what the shipped app uses up first."""


def parse(**parameters):
    document = {"parameters": parameters}
    return parse_settings(
        document, stage="dev", region="r", declared=declared_parameters(), digests={}
    )


def test_a_stage_that_decided_is_taken():
    assert parse(**DECIDED).parameters == DECIDED


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"AuthMode": None}, "AuthMode: decide on authentication: api_key .* iam or jwt .* none"),
        ({"SessionUrlTemplate": None}, "SessionUrlTemplate: decide .* wss:.* clear text"),
        ({"SessionUrlTemplate": "wss://a.example.org{path}"}, "stands for your own domain"),
        ({"SessionUrlTemplate": "http://{ip}"}, "SessionUrlTemplate: must match"),
        ({"ReservedConcurrency": 1}, "ReservedConcurrency: 0, or at least 2"),
        ({"AuthMode": "api_key"}, "ApiKeys: AuthMode api_key accepts no caller"),
        ({"AuthMode": "jwt"}, "UserPoolArns: AuthMode jwt accepts no caller"),
        ({"AuthMode": "none", "MaxSessions": 0}, "MaxSessions: 0 is no limit"),
        ({"AuthMode": "none", "MaxSessionsPerOwner": 0}, "MaxSessionsPerOwner: 0 is no limit"),
        ({"AuthMode": "none", "MaxRequestsPerSecond": 0}, "MaxRequestsPerSecond: 0 is no limit"),
    ],
)
def test_what_is_not_decided_is_refused_with_the_choices(parameters, words):
    given = {k: v for k, v in (DECIDED | parameters).items() if v is not None}
    with pytest.raises(SettingsError, match=words):
        parse(**given)


def test_prod_is_refused_until_somebody_decides():
    with pytest.raises(SettingsError, match=r"parameters\.AuthMode: decide"):
        load_settings("prod", "eu-west-1")


@pytest.mark.parametrize("stage", ["dev", "prod", "default"])
def test_the_limits_fit_the_cluster(stage):
    declared = declared_parameters()
    values = {name: p["Default"] for name, p in declared.items() if "Default" in p}
    if stage != "default":
        file = ROOT / "infra" / "stages" / f"{stage}.toml"
        values |= tomllib.loads(file.read_text("utf-8"))["parameters"]
    assert 0 < values["MaxSessions"] <= values["MaxHosts"] * UNITS_OF_A_HOST // SHIPPED_APP
    assert 0 < values["MaxSessionsPerOwner"] < values["MaxSessions"]
    assert values["MaxRequestsPerSecond"] > 0


def lines_of(**parameters):
    return "\n".join(describe_access(DECIDED | parameters, declared_parameters()))


def test_a_deployment_says_who_may_do_what():
    anonymous = lines_of(
        AuthMode="none", SessionUrlTemplate="ws://{ip}:{port}{path}", MaxSessions="7"
    )
    assert "everyone on the internet, up to 7 sessions, 10 of one owner" in anonymous
    assert "jobs and schedules: no caller" in anonymous
    assert "CLEAR TEXT" in anonymous
    assert "open to 0.0.0.0/0" in anonymous
    keyed = lines_of(
        AuthMode="api_key", ApiKeys="ann:0", Access="router", ClientCidr="192.0.2.0/24"
    )
    assert "every client with one of the keys" in keyed
    assert "read and stop everything: no caller: set Operators" in keyed
    assert "ports of the router: open to 192.0.2.0/24" in keyed
    assert "wss" in keyed
    assert "read and stop everything: opal" in lines_of(AuthMode="jwt", Operators="opal")
    assert "change nothing: no caller" in keyed
    assert "change nothing: vic" in lines_of(AuthMode="jwt", Viewers="vic")
