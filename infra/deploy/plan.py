"""Plans the steps of a deployment, in order. Pure."""

from infra.deploy.settings import IMAGE_NAME, Settings
from infra.deploy.steps import (
    CheckAppNames,
    DeleteBucket,
    DeleteStack,
    DeployStack,
    EndTasks,
    EnsureImage,
    FindS3PrefixList,
    Later,
    Package,
    RegisterJudge,
    RegisterTaskDefinitions,
    ReleaseHosts,
    ShowChanges,
    SmokeTest,
    Step,
    Value,
    WaitForHosts,
)

FOUNDATION = "infra/foundation.yaml"
AT_IMPORT = {"AuthMode": "AUTH_MODE", "UserPoolArns": "USER_POOL_ARNS"}
"""Parameters that app.py needs while Chalice imports it, because they shape the API."""

FAN_OUT = "rediss://valkey.invalid:6379/updates"
"""A placeholder for a fan-out feed whose address the template has; only its kind matters."""


def plan_deploy(settings: Settings, content: str, judge_content: str = "") -> tuple[Step, ...]:
    """A deployment. `content` is the hash of the session image's inputs, `judge_content` that of
    the judge's, for a stage with graders.

    The dispatcher is deployed before the containers: a new dispatcher supports old containers, and
    sessions of a new revision start only when it is deployed.
    """
    main = settings.stack
    return (
        CheckAppNames("names of apps", settings.stage),
        DeployStack(
            "registry and bucket", settings.foundation, FOUNDATION, {"Stage": settings.stage}
        ),
        EnsureImage(
            "session image",
            repository=Later(f"{settings.foundation}.SessionRepositoryUri"),
            tag=content,
            base_image=settings.base_image,
            platform=settings.platform,
        ),
        *_before_graders(settings, judge_content),
        _package(settings),
        DeployStack("everything that runs", main, Later("template"), _parameters(settings)),
        RegisterTaskDefinitions(
            "task definitions",
            stage=settings.stage,
            architecture=settings.architecture,
            images={IMAGE_NAME: Later("image"), **settings.images},
            roles={
                "execution": Later(f"{main}.ExecutionRoleArn"),
                "session": Later(f"{main}.SessionRoleArn"),
            },
            feed_url=FAN_OUT if settings.uses_fan_out else "",
            feed_password=Later(f"{main}.FeedSessionPassword") if settings.uses_fan_out else "",
            log_group=Later(f"{main}.SessionLogs"),
        ),
        *_judge(settings),
        WaitForHosts("hosts and pools", settings.stage, _hosts(settings)),
        SmokeTest("a session, for real", Later(f"{main}.EndpointURL")),
    )


def plan_diff(settings: Settings) -> tuple[Step, ...]:
    """The changes of a deployment, except the image, which is not built for this."""
    parameters = _parameters(settings) | {"SessionImage": Later("current_image")}
    return (
        ShowChanges(
            "registry and bucket", settings.foundation, FOUNDATION, {"Stage": settings.stage}
        ),
        *_prefix_list(settings),
        _package(settings),
        ShowChanges("everything that runs", settings.stack, Later("template"), parameters),
    )


def plan_destroy(settings: Settings) -> tuple[Step, ...]:
    """The end of a stage: resources with users last, and those that others need after these."""
    return (
        ReleaseHosts("hosts", f"{settings.stack}-hosts"),
        *(
            [ReleaseHosts("hosts of judges", f"{settings.stack}-graders")]
            if settings.has_graders
            else []
        ),
        EndTasks("tasks", settings.stage),
        DeleteBucket(
            "files of graders and learners", settings.stack, "GradingBucket", empties_only=True
        ),
        DeleteStack("everything that runs", settings.stack),
        DeleteBucket("packages", settings.foundation, "Artifacts"),
        DeleteStack("registry", settings.foundation),
    )


def _prefix_list(settings: Settings) -> tuple[Step, ...]:
    return (FindS3PrefixList("S3's addresses", settings.region),) if settings.has_graders else ()


def _before_graders(settings: Settings, content: str) -> tuple[Step, ...]:
    if not settings.has_graders:
        return ()
    image = EnsureImage(
        "judge's image",
        repository=Later(f"{settings.foundation}.JudgeRepositoryUri"),
        tag=content,
        base_image=settings.base_image,
        platform=settings.platform,
        finds_out="judge_image",
        dockerfile="Dockerfile",
        context="judge",
        lock="usher/requirements.lock",
    )
    return (image, *_prefix_list(settings))


def _judge(settings: Settings) -> tuple[Step, ...]:
    if not settings.has_graders:
        return ()
    main = settings.stack
    return (
        RegisterJudge(
            "judge",
            stage=settings.stage,
            architecture=settings.architecture,
            image=Later("judge_image"),
            task_role=Later(f"{main}.JudgeRoleArn"),
            execution_role=Later(f"{main}.JudgeExecutionRoleArn"),
            log_group=Later(f"{main}.JobLogs"),
        ),
    )


def _package(settings: Settings) -> Package:
    environment = {
        name: settings.parameters[parameter]
        for parameter, name in AT_IMPORT.items()
        if parameter in settings.parameters
    }
    if settings.uses_fan_out:
        environment["FEED_URL"] = FAN_OUT
    return Package(
        "functions",
        stage=settings.stage,
        environment=environment,
        bucket=Later(f"{settings.foundation}.Artifacts"),
        architecture=settings.architecture,
    )


def _parameters(settings: Settings) -> dict[str, Value]:
    return {
        "Stage": settings.stage,
        "Architecture": settings.architecture,
        "SessionImage": Later("image"),
        **({"S3PrefixList": Later("s3_prefix_list")} if settings.has_graders else {}),
        **settings.parameters,
    }


def _hosts(settings: Settings) -> int:
    if settings.parameters.get("Capacity") == "fargate":
        return 0
    return int(settings.parameters.get("MinHosts", "1"))
