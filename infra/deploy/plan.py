"""What has to be done, in order: decided purely, carried out elsewhere. Pure."""

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
"""Parameters that app.py has to know while Chalice reads it: they shape the API itself."""

FAN_OUT = "rediss://valkey.invalid:6379/updates"
"""A fan-out feed whose address the template knows; wherever it stands, only the kind counts."""


def plan_deploy(settings: Settings, content: str, judge_content: str = "") -> tuple[Step, ...]:
    """A deployment. `content` is the hash of all that goes into the session image, `judge_content`
    of what goes into the judge's, which a stage with graders has.

    The dispatcher comes before the containers: a new dispatcher knows old containers, and
    sessions of a new revision begin only when it can serve them.
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
    """What a deployment would change, without the image: it is not built for a look."""
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
    """The end of a stage: whatever has users last, whatever others need after them."""
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
