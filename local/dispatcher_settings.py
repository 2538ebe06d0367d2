"""The dispatcher's environment and command line in a run of the embedded cloud."""

import os

from local import judge
from local.access import hosts_at, origins_of
from local.aws.iam.principals import ALL_FUNCTIONS_KEY
from local.aws.provision import ACCOUNT
from local.cli.options import HOSTS_GROUP, STAGE, Options


def dispatcher_arguments(options: Options, seen_by_containers: str) -> list[str]:
    """The arguments of `local.functions.dispatcher`.

    `seen_by_containers` is the dispatcher's host:port for containers.
    """
    arguments = ["--stage", STAGE] + (["--access-log"] if options.access_log else [])
    arguments += ["--functions", options.functions]
    if options.function_concurrency is not None:
        arguments += ["--concurrency", str(options.function_concurrency)]
    if options.function_idle_seconds is not None:
        arguments += ["--idle-seconds", str(options.function_idle_seconds)]
    for name in (seen_by_containers, *options.allowed_hosts):
        arguments += ["--allowed-host", name]
    for origin in options.allowed_origins:
        arguments += ["--allowed-origin", origin]
    return arguments


def dispatcher_environment(
    options: Options,
    *,
    run_id: str,
    port: int,
    aws_url: str,
    callback_url: str,
    container_aws_url: str,
    feed_url: str,
    feed_relay_url: str,
) -> dict[str, str]:
    """The dispatcher's environment: this process's, without the developer's AWS settings.

    `callback_url` and `container_aws_url` are the dispatcher and the AWS endpoint for containers.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {
        "STAGE": STAGE,
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_REGION": options.region,
        "AWS_DEFAULT_REGION": options.region,
        "AWS_ACCESS_KEY_ID": ALL_FUNCTIONS_KEY,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CALLBACK_BASE_URL": callback_url,
        "CONTAINER_AWS_ENDPOINT_URL": container_aws_url,
        "FEED_URL": feed_url,
        "FEED_RELAY_URL": feed_relay_url,
        "ALLOWED_ORIGINS": ",".join(_allowed_origins(options, port)),
        "TASK_SUBNETS": "subnet-local",
        "TASK_SECURITY_GROUPS": "sg-local",
        "SESSION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/usher-{STAGE}-session",
        "JUDGES_CLUSTER": judge.CLUSTER.format(stage=STAGE),
        "JUDGES_CAPACITY_PROVIDER": judge.CLUSTER.format(stage=STAGE),
        "GRADING_BUCKET": f"usher-{STAGE}-grading-{ACCOUNT}",
        "JOBS_LAUNCH_TYPE": options.launch_type.upper(),
        "USHER_LOCAL_RUN": run_id,
        "PYTHONUNBUFFERED": "1",
    }
    if reason := judge.why_not():
        environment["GRADING_UNAVAILABLE"] = reason
    if options.apps:
        environment["APPS_FILE"] = str(options.apps.resolve())
    if options.capacity_provider:
        environment["CAPACITY_PROVIDER"] = options.capacity_provider
    if options.hosts_between:
        environment["HOSTS_GROUP"] = HOSTS_GROUP
    if options.pool is not None:
        environment["POOL_MIN"] = str(options.pool)
    return environment


def _allowed_origins(options: Options, port: int) -> list[str]:
    """Origins of the pages that may request a session and connect to it."""
    hosts = hosts_at(port, options.allowed_hosts)
    return sorted({*origins_of(hosts), *options.allowed_origins})
