"""The merged template that CloudFormation receives."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.config import VARIABLES, dead_letter_queues
from infra.deploy.finish import CALLBACK_PATHS, finish
from local.aws.template import load_template

ROOT = Path(__file__).parents[3]
CHALICE = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))
FUNCTION = "AWS::Serverless::Function"


def of_type(template, kind):
    resources = template["Resources"].items()
    return {name: r["Properties"] for name, r in resources if r["Type"] == kind}


def test_the_linter_finds_nothing_and_is_told_to_ignore_nothing(merged):
    own = [ROOT / "infra" / "foundation.yaml", ROOT / "infra" / "router" / "template.yaml"]
    files = [*map(str, merged.values()), *map(str, own)]
    linted = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout) == (0, "")
    assert not list(ROOT.glob(".cfnlintrc*"))
    assert "cfn-lint" not in (ROOT / "infra" / "template.yaml").read_text("utf-8")


@pytest.mark.parametrize("feed", ["kinesis", "valkey"])
def test_functions_get_the_settings_that_config_reads_and_no_others(templates, feed):
    for properties in of_type(templates[feed], FUNCTION).values():
        assert set(properties["Environment"]["Variables"]) <= set(VARIABLES)


def test_every_function_that_starts_sessions_ahead_knows_where_containers_call_back(templates):
    functions = of_type(templates["kinesis"], FUNCTION)
    stage = CHALICE["stages"]["dev"]["api_gateway_stage"]
    for name in ("LaunchQueued", "Sweep", "TaskChanged", "HostChanged"):
        by_parameter, given, own = functions[name]["Environment"]["Variables"]["CALLBACK_BASE_URL"][
            "Fn::If"
        ]
        assert (by_parameter, given) == ("HasApiUrl", {"Ref": "ApiUrl"})
        assert own["Fn::Sub"].startswith("https://${RestAPI}.")
        assert own["Fn::Sub"].endswith(f"/{stage}")
    # The API's own function is part of RestAPI: naming it there would close a circle.
    assert "RestAPI" not in json.dumps(functions["APIHandler"])


def test_only_the_fan_out_feed_has_functions_of_its_own(templates):
    relay = {"RelayRecords", "KeepFeedWhole"}
    assert not relay & set(templates["kinesis"]["Resources"])
    assert relay <= set(templates["valkey"]["Resources"])


def test_whatever_is_kept_is_encrypted_and_every_log_ends(templates):
    template = templates["valkey"]
    for queue in of_type(template, "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
    for table in of_type(template, "AWS::DynamoDB::Table").values():
        assert table["SSESpecification"]["SSEEnabled"] is True
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["TimeToLiveSpecification"]["Enabled"] is True
    for stream in of_type(template, "AWS::Kinesis::Stream").values():
        assert stream["StreamEncryption"]["EncryptionType"] == "KMS"
    for valkey in of_type(template, "AWS::ElastiCache::ReplicationGroup").values():
        assert valkey["TransitEncryptionEnabled"] is True
        assert valkey["AtRestEncryptionEnabled"] is True
    groups = of_type(template, "AWS::Logs::LogGroup")
    assert all("RetentionInDays" in group for group in groups.values())
    logged = {group["LogGroupName"]["Fn::Sub"] for group in groups.values()}
    for function in of_type(template, FUNCTION):
        assert f"/aws/lambda/${{{function}}}" in logged


def test_a_host_gives_no_credentials_to_containers(templates):
    host = of_type(templates["kinesis"], "AWS::EC2::LaunchTemplate")["HostTemplate"]
    options = host["LaunchTemplateData"]["MetadataOptions"]
    assert options["HttpTokens"] == "required"
    assert options["HttpPutResponseHopLimit"] == 1
    assert "KeyName" not in host["LaunchTemplateData"]
    script = host["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"][0]
    for line in (
        "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
        "ECS_AWSVPC_BLOCK_IMDS=true",
        "--destination 169.254.169.254/32 --jump DROP",
    ):
        assert line in script
    shell = script.replace("${!", "${").replace("${Stage}", "dev").replace("${Image}", "r/i@sha")
    checked = subprocess.run(["bash", "-n"], input=shell, text=True, check=False)
    assert checked.returncode == 0


def test_a_host_with_a_session_on_it_is_not_taken_away(templates):
    provider = of_type(templates["kinesis"], "AWS::ECS::CapacityProvider")["CapacityProvider"]
    group = of_type(templates["kinesis"], "AWS::AutoScaling::AutoScalingGroup")["Hosts"]
    scaling = provider["AutoScalingGroupProvider"]
    assert scaling["ManagedTerminationProtection"] == "ENABLED"
    assert scaling["ManagedScaling"]["Status"] == "ENABLED"
    assert group["NewInstancesProtectedFromScaleIn"] is True


def test_events_that_cannot_be_delivered_or_handled_are_kept(templates):
    functions = of_type(templates["kinesis"], FUNCTION)
    kept = {"Fn::GetAtt": ["EventsDeadLetters", "Arn"]}
    for name in ("TaskChanged", "HostChanged"):
        (event,) = functions[name]["Events"].values()
        assert event["Properties"]["DeadLetterConfig"]["Arn"] == kept
        assert event["Properties"]["Pattern"]
        assert functions[name]["DeadLetterQueue"]["TargetArn"] == kept


def test_every_queue_of_messages_that_were_given_up_is_counted_for_operators(templates):
    names = {
        queue["QueueName"]["Fn::Sub"]
        for queue in of_type(templates["valkey"], "AWS::SQS::Queue").values()
    }
    dead = {name for name in names if name.endswith("-dead")}
    assert dead == set(dead_letter_queues("${Stage}").values())


def test_a_queues_messages_are_not_repeated_while_they_are_worked_on(templates):
    functions = of_type(templates["kinesis"], FUNCTION)
    queue = templates["kinesis"]["Resources"]["LaunchesQueue"]["Properties"]
    assert queue["VisibilityTimeout"] > functions["LaunchQueued"]["Timeout"]
    assert templates["kinesis"]["Resources"]["LaunchQueued"]["DependsOn"] == ["LaunchesQueue"]


def test_every_alarm_has_something_to_do_in_the_runbook(templates):
    runbook = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for alarm in of_type(templates["valkey"], "AWS::CloudWatch::Alarm").values():
        name = alarm["AlarmName"]["Fn::Sub"].removeprefix("usher-${Stage}-")
        assert f"`{name}`" in runbook, name


def test_the_runbooks_commands_name_what_the_template_has(templates):
    runbook = (ROOT / "docs" / "operations.md").read_text("utf-8")
    commands = runbook.partition("## Commands for it")[2].partition("\n## ")[0]
    resource = re.compile(r"`([A-Z][A-Za-z]+)`|--logical-resource-id ([A-Z][A-Za-z]+)")
    named = {a or b for a, b in resource.findall(commands)}
    assert {"Sweep", "LaunchQueued"} <= named
    # `Callbacks` is split off when the template is finished.
    assert named - {"Callbacks"} <= set(of_type(templates["valkey"], FUNCTION)) | {"READY"}
    for name in dead_letter_queues("S"):
        assert f"usher-S-{name}-dead" in commands or f"`{name}`" in commands


def test_alarms_look_at_metrics_that_exist(templates):
    documented = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for alarm in of_type(templates["valkey"], "AWS::CloudWatch::Alarm").values():
        if alarm.get("Namespace") == "Usher":
            assert f"`{alarm['MetricName']}`" in documented
        for query in alarm.get("Metrics", ()):
            if isinstance(query.get("Expression"), dict):
                name = query["Expression"]["Fn::Sub"].split("(")[1].split(")")[0]
                assert f"`{name}`" in documented


def test_sam_adds_no_stage_and_every_stage_is_limited_and_logged(translated):
    deployments = of_type(translated, "AWS::ApiGateway::Deployment")
    assert deployments
    assert not [d for d in deployments.values() if "StageName" in d]
    stages = of_type(translated, "AWS::ApiGateway::Stage")
    assert len(stages) == 2  # the API, and that of judges
    for stage in stages.values():
        (settings,) = stage["MethodSettings"]
        assert (settings["HttpMethod"], settings["ResourcePath"]) == ("*", "/*")
        assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= set(settings)
        assert stage["AccessLogSetting"]["DestinationArn"]


def test_rules_let_only_events_of_this_stages_cluster_through(translated):
    patterns = {
        pattern["detail-type"][0]: pattern["detail"]["clusterArn"]
        for rule in of_type(translated, "AWS::Events::Rule").values()
        if (pattern := rule.get("EventPattern"))
    }
    own, graders = {"suffix": ":cluster/usher-dev"}, {"suffix": ":cluster/usher-dev-graders"}
    assert patterns == {
        "ECS Task State Change": [own, graders],
        "ECS Container Instance State Change": [own],  # of sessions' hosts
    }


@pytest.mark.parametrize("what", ["Errors", "Throttles"])
@pytest.mark.parametrize("feed", ["kinesis", "valkey"])
def test_an_error_and_a_throttle_of_any_function_ring_whether_or_not_the_others_were_called(
    templates, feed, what
):
    finished = finish(templates[feed], code="s3://bucket/code", architecture="x86_64")
    resources, watched = finished["Resources"], set()
    for name in (f"Function{what}Alarm", f"Relay{what}Alarm"):
        if name not in resources:
            continue
        total, *metrics = resources[name]["Properties"]["Metrics"]
        assert len(metrics) <= 10  # CloudWatch takes no more
        summed = [f"FILL({metric['Id']}, 0)" for metric in metrics]
        assert total["Expression"].split(" + ") == summed
        assert {m["MetricStat"]["Metric"]["MetricName"] for m in metrics} == {what}
        watched |= {m["MetricStat"]["Metric"]["Dimensions"][0]["Value"]["Ref"] for m in metrics}
    functions = {n for n, r in resources.items() if r["Type"] == "AWS::Serverless::Function"}
    assert watched == functions


def test_what_containers_and_routers_call_has_a_function_of_its_own(templates):
    template = finish(templates["kinesis"], code="s3://bucket/code", architecture="x86_64")
    resources = template["Resources"]
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    served = {
        path: {
            method["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"].split("${")[-1]
            for method in methods.values()
            if "uri" in method["x-amazon-apigateway-integration"]
        }
        for path, methods in paths.items()
    }
    by_callbacks = {path for path, by in served.items() if by == {"Callbacks.Arn}/invocations"}}
    assert by_callbacks == set(CALLBACK_PATHS)
    assert all(
        served[path] == {"APIHandler.Arn}/invocations"} for path in served.keys() - by_callbacks
    )
    own, api = (resources[name]["Properties"] for name in ("Callbacks", "APIHandler"))
    assert own["Role"] == api["Role"]
    differs = {key for key in own.keys() | api.keys() if own.get(key) != api.get(key)}
    assert differs == {"ReservedConcurrentExecutions"}
    permission = resources["CallbacksInvokePermission"]["Properties"]
    assert permission["FunctionName"] == {"Ref": "Callbacks"}
    logs = resources["CallbacksLogGroup"]["Properties"]["LogGroupName"]
    assert logs == {"Fn::Sub": "/aws/lambda/${Callbacks}"}


def test_packages_are_kept_for_a_rollback_of_any_age():
    foundation = load_template((ROOT / "infra" / "foundation.yaml").read_text("utf-8"))
    bucket = foundation["Resources"]["Artifacts"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        assert not {"ExpirationInDays", "ExpirationDate"} & set(rule)


def test_a_host_is_closed_again_after_each_start_of_docker(templates):
    template = templates["kinesis"]["Resources"]["HostTemplate"]["Properties"]["LaunchTemplateData"]
    script = template["UserData"]["Fn::Base64"]["Fn::Sub"][0]
    before, unit = script.split("systemctl enable --now usher-packet-filter.service")[0], script
    for line in ("PartOf=docker.service", "WantedBy=docker.service", "Before=ecs.service",
                 "After=docker.service", "--dport 51678:51680"):  # fmt: skip
        assert line in before  # with SessionImage or without
    assert unit.index("systemctl enable --now") < unit.index('if [ -n "$image" ]')


@pytest.mark.parametrize("feed", ["kinesis", "valkey"])
def test_the_stream_refuses_records_that_lambda_could_not_hand_to_the_relay(templates, feed):
    """Such records would block their shard until they expire. The default maximum is 1 MiB."""
    (stream,) = of_type(templates[feed], "AWS::Kinesis::Stream").values()
    assert stream.get("MaxRecordSizeInKiB", 1_024) <= 4_096


def test_answers_are_compressed(templates):
    for template in templates.values():
        api = template["Resources"]["RestAPI"]["Properties"]
        assert api["MinimumCompressionSize"] == 1024


def test_functions_with_several_messages_name_those_that_failed(templates):
    template = finish(templates["kinesis"], code="s3://bucket/code", architecture="x86_64")
    sources = {
        name: event["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
        for event in resource["Properties"].get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    naming = {name for name, source in sources.items() if "FunctionResponseTypes" in source}
    assert naming == {"RunCriticalJobs", "RunNormalJobs", "RunLowJobs"}
    assert {n for n, source in sources.items() if source["BatchSize"] > 1} == naming
    launches = sources["LaunchQueued"]["ScalingConfig"]["Fn::If"]
    assert launches[:2] == [
        "ReservesConcurrency",
        {"MaximumConcurrency": {"Ref": "ReservedConcurrency"}},
    ]
