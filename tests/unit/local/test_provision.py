from pathlib import Path

import pytest
import yaml

from local.aws.provision import AwsCall, plan, read_plan, task_definition_calls
from local.aws.template import Place, TemplateError, load_template, loader_of

PLACE = Place("eu-west-1", "123456789012", "stack")
TEMPLATE = Path(__file__).parent.parent.parent.parent / "infra" / "template.yaml"


def planned(text, **parameters):
    return plan(load_template(text), parameters, PLACE)


@pytest.mark.parametrize("path", sorted(TEMPLATE.parent.rglob("*.yaml")), ids=lambda p: p.name)
def test_a_template_is_the_same_without_libyaml(path):
    text = path.read_text()
    assert load_template(text) == yaml.load(text, loader_of(yaml.SafeLoader))


def table(name):
    return (
        f"{{Type: 'AWS::DynamoDB::Table', Properties: {{TableName: {name}, KeySchema: [], "
        "AttributeDefinitions: []}}"
    )


def test_the_projects_own_template_gives_every_table_queue_stream_and_cluster():
    calls = read_plan(TEMPLATE, {"Stage": "local"}, "us-east-1", "local")
    made = {
        (call.service, next(iter(call.arguments.values())))
        for call in calls
        if call.operation.startswith("create_")
    }
    assert made >= {
        ("dynamodb", "usher-local-sessions"),
        ("sqs", "usher-local-launches"),
        ("sqs", "usher-local-launches-dead"),
        ("kinesis", "usher-local-updates"),
        ("ecs", "usher-local"),
    }


def test_each_app_becomes_a_task_definition():
    calls = task_definition_calls("local", None)
    assert {call.operation for call in calls} == {"register_task_definition"}
    assert "usher-local-listings" in {call.arguments["family"] for call in calls}


def test_what_is_referred_to_is_made_first_and_arns_are_known_beforehand():
    calls = planned(
        """
        Resources:
          Main:
            Type: AWS::SQS::Queue
            Properties:
              QueueName: main
              RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
          Dead: {Type: AWS::SQS::Queue}
        """
    )
    assert [call.arguments["QueueName"] for call in calls] == ["stack-Dead", "main"]
    assert (
        "arn:aws:sqs:eu-west-1:123456789012:stack-Dead"
        in (calls[1].arguments["Attributes"]["RedrivePolicy"])
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("!Ref Name", "given"),
        ("!Sub 'a-${Name}-${AWS::Region}'", "a-given-eu-west-1"),
        ("!Sub ['${Name}-${extra}', {extra: !Ref Other}]", "given-other"),
        ("!Sub '${!Name}'", "${Name}"),
        ("!Join ['-', [a, !Ref Name]]", "a-given"),
        ("!If [IsGiven, yes-it-is, no]", "yes-it-is"),
        ("!If [IsNot, a, b]", "b"),
        ("{'Fn::Sub': '${Other}'}", "other"),
    ],
)
def test_functions_are_resolved(written, expected):
    (call,) = planned(
        f"""
        Parameters:
          Name: {{Type: String}}
          Other: {{Type: String, Default: other}}
        Conditions:
          IsGiven: !Equals [!Ref Name, given]
          IsNot: !And [!Not [Condition: IsGiven], !Or [!Equals [a, a], !Equals [a, b]]]
        Resources:
          Cluster: {{Type: "AWS::ECS::Cluster", Properties: {{ClusterName: {written}}}}}
        """,
        Name="given",
    )
    assert call == AwsCall("ecs", "create_cluster", {"clusterName": expected})


def test_a_resource_whose_condition_fails_is_not_there():
    text = """
    Conditions: {Never: !Equals [a, b]}
    Resources:
      Cluster: {Type: "AWS::ECS::Cluster", Condition: Never}
    """
    assert planned(text) == []


def test_a_property_without_a_value_is_not_there():
    (call,) = planned(
        """
        Conditions: {Never: !Equals [a, b]}
        Resources:
          Queue:
            Type: AWS::SQS::Queue
            Properties: {QueueName: q, DelaySeconds: !If [Never, 5, !Ref "AWS::NoValue"]}
        """
    )
    assert call.arguments["Attributes"] == {}


def test_time_to_live_and_streams_become_calls_of_their_own():
    create, expire = planned(
        """
        Resources:
          T:
            Type: AWS::DynamoDB::Table
            Properties:
              TableName: t
              KeySchema: []
              AttributeDefinitions: []
              StreamSpecification: {StreamViewType: NEW_IMAGE}
              TimeToLiveSpecification: {AttributeName: gone_at, Enabled: true}
        """
    )
    assert create.arguments["StreamSpecification"] == {
        "StreamViewType": "NEW_IMAGE", "StreamEnabled": True,
    }  # fmt: skip
    assert expire.operation == "update_time_to_live"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Resources: {X: {Type: 'AWS::Strange::Thing'}}", "X: AWS::Strange::Thing is neither"),
        (
            "Resources: {X: {Type: 'AWS::ECS::Cluster', Properties: {Colour: red}}}",
            "X: properties not built here: Colour",
        ),
        (
            "Resources: {X: {Type: 'AWS::ECS::Cluster', Properties: {ClusterName: !Ref Y}}}",
            "X: Ref to Y",
        ),
        (
            "Parameters: {P: {Type: String}}\n"
            "Resources: {X: {Type: 'AWS::ECS::Cluster', Properties: {ClusterName: !Ref P}}}",
            "parameter P has no value",
        ),
        (
            "Resources: {X: {Type: 'AWS::ECS::Cluster', Properties: {ClusterName: !Split a}}}",
            "Fn::Split is not understood",
        ),
        ("Nothing: here", "has Resources"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_the_place(text, problem):
    with pytest.raises(TemplateError, match=problem):
        planned(text)


def test_what_exists_only_on_aws_is_left_out_whatever_it_says():
    text = "Resources: {R: {Type: 'AWS::IAM::Role', Properties: {X: !ImportValue y}}}"
    assert planned(text) == []


def test_an_unknown_parameter_is_an_error():
    with pytest.raises(TemplateError, match="no such parameters: Stagge"):
        planned("Resources: {C: {Type: 'AWS::ECS::Cluster'}}", Stagge="x")
