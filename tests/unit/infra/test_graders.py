"""The judges' part of the template: a network without internet access, hosts for a day, and none of
these resources on a stage without graders.
"""

import copy
import json
import subprocess
from pathlib import Path

import pytest

from infra.deploy.finish import JUDGE_PATHS, finish
from local.aws.template import load_template

ROOT = Path(__file__).parents[3]
INTERFACES = {
    "ecs": "the agent registers its host",
    "ecs-agent": "the agent hears of tasks",
    "ecs-telemetry": "the agent reports use",
    "ecr.api": "credentials of the registry",
    "ecr.dkr": "images",
    "logs": "the log of judges",
    "execute-api": "the API of judges",
}
"""Services with an interface endpoint, and the callers of each. S3 has a gateway."""


@pytest.fixture(scope="module")
def template(templates):
    return finish(templates["kinesis"], code="s3://bucket/code", architecture="x86_64")


@pytest.fixture(scope="module")
def graders(template):
    """Resources that only a stage with graders has, by logical id."""
    return {n: r for n, r in template["Resources"].items() if r.get("Condition") == "HasGraders"}


def properties(graders, name):
    return graders[name]["Properties"]


def of_kind(graders, kind):
    return {n: r["Properties"] for n, r in graders.items() if r["Type"] == kind}


def test_a_stage_without_graders_has_nothing_of_it(template, graders):
    costs = ("AWS::EC2::VPCEndpoint", "AWS::AutoScaling::AutoScalingGroup", "AWS::EC2::FlowLog")
    assert {graders[n]["Type"] for n in graders} >= set(costs)
    named = [n for n in template["Resources"] if n.startswith(("Grader", "Judge"))]
    assert set(named) <= set(graders)
    assert template["Parameters"]["Graders"]["Default"] == "none"
    # Nothing that is always there refers to it but under the same condition.
    for name, resource in template["Resources"].items():
        if name not in graders:
            text = json.dumps(without_conditional(resource))
            assert not [n for n in graders if f'"{n}"' in text or f"${{{n}" in text], name


def without_conditional(node):
    if isinstance(node, list):
        return [without_conditional(part) for part in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {"Fn::If"} and node["Fn::If"][0] == "HasGraders":
        return without_conditional(node["Fn::If"][2])
    return {key: without_conditional(value) for key, value in node.items()}


def test_the_network_is_connected_with_no_other(graders):
    kinds = {resource["Type"] for resource in graders.values()}
    ways_out = {"InternetGateway", "NatGateway", "VPCPeeringConnection", "TransitGatewayAttachment",
                "Route", "VPNGateway", "EgressOnlyInternetGateway"}  # fmt: skip
    assert not {f"AWS::EC2::{kind}" for kind in ways_out} & kinds
    (vpc,) = of_kind(graders, "AWS::EC2::VPC")
    for kind in ("AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup"):
        for each in of_kind(graders, kind).values():
            assert each["VpcId"] == {"Ref": vpc}
            assert not each.get("MapPublicIpOnLaunch")
    host = properties(graders, "GraderHostTemplate")["LaunchTemplateData"]
    assert host["NetworkInterfaces"][0]["AssociatePublicIpAddress"] is False


def test_it_has_the_endpoints_that_judges_and_hosts_need_and_no_others(graders):
    endpoints = of_kind(graders, "AWS::EC2::VPCEndpoint")
    by_type = {"Interface": set(), "Gateway": set()}
    for each in endpoints.values():
        service = each["ServiceName"]["Fn::Sub"].removeprefix("com.amazonaws.${AWS::Region}.")
        by_type[each["VpcEndpointType"]].add(service)
    assert by_type == {"Interface": set(INTERFACES), "Gateway": {"s3"}}
    hosts = graders["GraderHosts"]["DependsOn"]
    for name, each in endpoints.items():
        if name != "GraderApiEndpoint":  # only judges use it, and their tasks start much later
            assert name in hosts
        if each["VpcEndpointType"] == "Interface":
            assert each["PrivateDnsEnabled"] is True


def test_no_endpoint_serves_principals_of_another_account_but_for_what_is_named(graders):
    own = {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
    for name, each in of_kind(graders, "AWS::EC2::VPCEndpoint").items():
        for statement in each["PolicyDocument"]["Statement"]:
            if statement.get("Condition") == own:
                continue
            resource = statement["Resource"]["Fn::Sub"]
            if name == "GraderApiEndpoint":
                assert "${AWS::AccountId}:*" in resource
            else:
                assert name == "GraderS3Endpoint"
                assert statement["Action"] == "s3:GetObject"
                assert resource.endswith(":prod-${AWS::Region}-starport-layer-bucket/*")
    first = properties(graders, "GraderS3Endpoint")["PolicyDocument"]["Statement"][0]
    assert first["Resource"] == {"Fn::Sub": "${GradingBucket.Arn}/*"}


def test_hosts_reach_endpoints_alone_and_nobody_reaches_hosts(graders):
    group = properties(graders, "GradersSecurityGroup")
    assert "SecurityGroupIngress" not in group
    for rule in group["SecurityGroupEgress"]:
        assert not {"CidrIp", "CidrIpv6"} & set(rule)
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)
    incoming = of_kind(graders, "AWS::EC2::SecurityGroupIngress")
    assert set(incoming) == {"GraderEndpointsFromHosts"}


def test_names_of_others_are_not_looked_up(graders):
    allowed = properties(graders, "GradersNames")["Domains"]
    assert allowed == [{"Fn::Sub": "*.${AWS::Region}.${AWS::URLSuffix}"}, "*.internal"]
    first, last = properties(graders, "GradersNamesRules")["FirewallRules"]
    assert (first["Action"], first["FirewallDomainListId"]) == ("ALLOW", {"Ref": "GradersNames"})
    assert (last["Action"], last["FirewallDomainListId"]) == ("BLOCK", {"Ref": "AllOtherNames"})
    assert first["Priority"] < last["Priority"]
    assert properties(graders, "AllOtherNames")["Domains"] == ["*"]
    assert properties(graders, "GradersNamesFirewall")["VpcId"] == {"Ref": "GradersVpc"}


def test_a_host_lives_for_a_day_and_its_successor_comes_first(graders):
    group = properties(graders, "GraderHosts")
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-max-instance-lifetime.html: at
    # least a day; protected instances are not replaced.
    assert group["MaxInstanceLifetime"] == 86_400
    assert group["NewInstancesProtectedFromScaleIn"] is False
    assert group["InstanceMaintenancePolicy"]["MinHealthyPercentage"] == 100
    assert group["InstanceMaintenancePolicy"]["MaxHealthyPercentage"] > 100
    provider = properties(graders, "GradersProvider")["AutoScalingGroupProvider"]
    assert provider["ManagedTerminationProtection"] == "DISABLED"
    assert provider["ManagedDraining"] == "ENABLED"
    assert provider["ManagedScaling"]["Status"] == "ENABLED"


def test_a_host_gives_no_credentials_to_containers(graders):
    data = properties(graders, "GraderHostTemplate")["LaunchTemplateData"]
    options = data["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
    assert "KeyName" not in data
    script = data["UserData"]["Fn::Base64"]["Fn::Sub"]
    for line in (
        "ECS_CLUSTER=usher-${Stage}-graders",
        "ECS_DISABLE_PRIVILEGED=true",
        "--destination 169.254.169.254/32 --jump DROP",
        "--in-interface docker+ --out-interface docker+ --jump DROP",
        "PartOf=docker.service",
    ):
        assert line in script
    shell = script.replace("${Stage}", "dev")
    assert subprocess.run(["bash", "-n"], input=shell, text=True, check=False).returncode == 0


def test_the_cluster_has_its_own_provider_and_no_other(graders):
    capacity = properties(graders, "GradersCapacity")
    assert capacity["Cluster"] == {"Ref": "GradersCluster"}
    assert capacity["CapacityProviders"] == [{"Ref": "GradersProvider"}]


def statements_of(graders, role):
    return [
        (policy["PolicyName"], statement)
        for policy in properties(graders, role)["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions_of(graders, role):
    return {a for _, s in statements_of(graders, role) for a in listed(s["Action"])}


@pytest.mark.parametrize("role", ["GraderHostRole", "JudgeExecutionRole", "JudgeRole"])
def test_rights_hold_inside_the_network_alone(graders, role):
    for _, statement in statements_of(graders, role):
        inside = statement["Condition"]["StringEquals"]
        assert inside == {"aws:SourceVpc": {"Ref": "GradersVpc"}}


def test_a_judge_may_pull_images_of_graders_and_nothing_else(graders):
    actions = actions_of(graders, "JudgeRole")
    assert {action.partition(":")[0] for action in actions} == {"ecr"}
    assert not [a for a in actions if "Put" in a or "Delete" in a or "*" in a]
    resources = [s["Resource"] for _, s in statements_of(graders, "JudgeRole")]
    named = [r["Fn::Sub"] for r in resources if r != "*"]
    assert all(name.endswith(":repository/usher-${Stage}/graders") for name in named)


def test_what_starts_a_judge_reads_no_secret_and_writes_to_no_other_log(graders):
    actions = {
        a for _, s in statements_of(graders, "JudgeExecutionRole") for a in listed(s["Action"])
    }
    assert {action.partition(":")[0] for action in actions} == {"ecr", "logs"}
    (put,) = [
        s["Resource"]["Fn::Sub"]
        for _, s in statements_of(graders, "JudgeExecutionRole")
        if "logs:PutLogEvents" in listed(s["Action"])
    ]
    assert put.endswith(":log-stream:usher_judge/*")


def test_a_host_acts_in_its_own_cluster_and_takes_no_other_host_away(graders):
    actions = actions_of(graders, "GraderHostRole")
    assert {a.partition(":")[0] for a in actions} == {"ecs"}
    assert not {"ecs:DeregisterContainerInstance", "ecs:UpdateContainerInstancesState"} & actions
    text = json.dumps(statements_of(graders, "GraderHostRole"))
    assert "GradersCluster" in text
    assert '"Cluster"' not in text
    assert "${Cluster}" not in text


def listed(value):
    return [value] if isinstance(value, str) else value


def test_connections_are_logged_for_as_long_as_logs_are_kept_and_refusals_ring(graders):
    log = properties(graders, "GraderFlowLog")
    assert (log["ResourceType"], log["TrafficType"]) == ("VPC", "ALL")
    assert log["LogGroupName"] == {"Ref": "GraderFlowLogs"}
    assert properties(graders, "GraderFlowLogs")["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    pattern = properties(graders, "GraderRefusals")
    (made,) = pattern["MetricTransformations"]
    # https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html: version 2
    assert pattern["FilterPattern"].count(",") == 13
    assert 'action="REJECT"' in pattern["FilterPattern"]
    alarm = properties(graders, "GraderRefusalsAlarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == (
        made["MetricNamespace"],
        made["MetricName"],
    )


def test_judges_call_an_api_of_their_own_that_has_their_calls_alone(template, graders):
    api = properties(graders, "JudgesAPI")
    assert api["EndpointConfiguration"] == {
        "Type": "PRIVATE",
        "VPCEndpointIds": [{"Ref": "GraderApiEndpoint"}],
    }
    body = api["DefinitionBody"]
    assert set(body["paths"]) == set(JUDGE_PATHS)
    public = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    for path in JUDGE_PATHS:
        assert path.startswith("/invocations/{invocation_id}/")
        assert body["paths"][path] == public[path]
        assert set(body["paths"][path]) <= {"post", "options"}
    (statement,) = body["x-amazon-apigateway-policy"]["Statement"]
    inside = {"aws:SourceVpce": {"Ref": "GraderApiEndpoint"}}
    assert statement["Condition"] == {"StringEquals": inside}
    permission = properties(graders, "JudgesAPIInvokePermission")
    assert permission["FunctionName"] == {"Ref": "Callbacks"}
    assert permission["SourceArn"]["Fn::Sub"][1] == {"RestAPIId": {"Ref": "JudgesAPI"}}


def test_who_launches_judges_knows_their_place_and_the_api_does_not_name_itself(template):
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        variables = resource["Properties"]["Environment"]["Variables"]
        by_api = name in {"APIHandler", "Callbacks"}
        assert ("JUDGES_CALLBACK_URL" in variables) is not by_api, name
        for setting in ("JUDGES_CLUSTER", "JUDGES_CAPACITY_PROVIDER", "GRADER_IMAGES"):
            assert variables[setting]["Fn::If"][0] == "HasGraders"


def test_without_graders_submissions_are_refused_with_what_to_switch_on(template):
    variables = template["Resources"]["APIHandler"]["Properties"]["Environment"]["Variables"]
    condition, there, missing = variables["GRADING_UNAVAILABLE"]["Fn::If"]
    assert (condition, there) == ("HasGraders", "")
    for words in ('Graders = "ec2"', "infra/stages/${Stage}.toml", "[parameters]"):
        assert words in missing["Fn::Sub"]


def test_the_registry_has_a_repository_for_the_judge_and_one_for_graders():
    foundation = load_template((ROOT / "infra" / "foundation.yaml").read_text("utf-8"))
    for name in ("JudgeRepository", "GradersRepository"):
        repository = foundation["Resources"][name]["Properties"]
        assert repository["ImageTagMutability"] == "IMMUTABLE"
        assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}


def test_the_check_of_references_sees_one_without_a_condition(template, graders):
    broken = copy.deepcopy(template["Resources"]["APIHandler"])
    broken["Properties"]["Environment"]["Variables"]["X"] = {"Ref": "GradersCluster"}
    assert '"GradersCluster"' in json.dumps(without_conditional(broken))
