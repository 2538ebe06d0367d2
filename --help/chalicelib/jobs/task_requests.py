"""The RunTask request of an invocation. Pure."""

from chalicelib.config import Config
from chalicelib.contract.jobs import JUDGE_JOB, TRACEPARENT, TRACES_ENDPOINT, JobEnv
from chalicelib.ecs.requests import PluginPlacement, TaskRequest
from chalicelib.jobs.description import DeployedJob
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.task_definitions import CONTAINER
from chalicelib.tags import cost_tags
from chalicelib.task_placement import Placement


def launch_type_of(job: DeployedJob, config: Config) -> str:
    """EC2 or FARGATE: from the job's description, else the deployment's default."""
    return job.description.launch_type or config.jobs_launch_type


def task_request_for(invocation: Invocation, job: DeployedJob, config: Config) -> TaskRequest:
    """The RunTask request of the current attempt; equal for equal records."""
    launch_type = launch_type_of(job, config)
    base_url = _callback_base_url(invocation, config)
    url = f"{base_url}/invocations/{invocation.id}"
    environment: dict[str, str] = {
        JobEnv.INVOCATION_ID: invocation.id,
        JobEnv.INVOCATION_ATTEMPT: str(invocation.attempt),
        JobEnv.INVOCATION_KEY: invocation.key,
        JobEnv.INVOCATION_URL: url,
        JobEnv.JOB_NAME: invocation.job,
        JobEnv.JOB_REVISION: str(job.revision),
    }
    if invocation.traceparent:
        environment[TRACEPARENT] = invocation.traceparent
        if config.traces_endpoint:
            environment[TRACES_ENDPOINT] = config.traces_endpoint
    fargate = launch_type == "FARGATE"
    described = job.description
    placement = Placement() if fargate else described.placement
    return TaskRequest(
        started_by=invocation.started_by,
        attempt=invocation.attempt,
        task_definition=job.task_definition,
        container=CONTAINER,
        environment={str(name): value for name, value in environment.items()},
        launch_type=launch_type,
        capacity_provider=None if fargate else provider_of(invocation.job, config),
        subnets=(described.subnets or config.task_subnets) if fargate else (),
        security_groups=(described.security_groups or config.task_security_groups)
        if fargate
        else (),
        spread=placement.fields(),
        binpack=placement.binpack,
        constraints=placement.expressions(config.stage),
        plugin=PluginPlacement(placement.plugin, described.name, described.cpu, described.memory)
        if placement.plugin
        else None,
        tags=cost_tags(job=invocation.job, group=job.description.group, owner=invocation.owner),
    )


def _callback_base_url(invocation: Invocation, config: Config) -> str:
    own = config.judges_callback_url if invocation.job == JUDGE_JOB else None
    return own or invocation.callback_base_url


def provider_of(job: str, config: Config) -> str | None:
    """The capacity provider of a job on EC2; judges may have a separate one."""
    own = config.judges_capacity_provider if job == JUDGE_JOB else None
    return own or config.capacity_provider


def cluster_of(job: str, config: Config) -> str:
    """The cluster of a job; judges may have a separate one."""
    own = config.judges_cluster if job == JUDGE_JOB else None
    return own or config.cluster
