"""The functions of an app as the stage `dev` deploys them: timeout, memory, concurrency, policy.

The local stage uses the same limits as on AWS.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.aws.iam.principals import FUNCTION_KEY
from local.aws.template import load_template
from local.functions.environment import FunctionSettings

DEPLOYED_STAGE = "dev"
API_HANDLER = "api_handler"
"""Chalice's name of the function behind API Gateway."""

DEFAULT_TIMEOUT_SECONDS = 60
DEFAULT_MEMORY_MIB = 128
"""Chalice's default."""

DEFAULT_CONCURRENCY = 100
"""Concurrency of each function without a reserved one. An account has 1,000 for all of them; a
machine has fewer processes.
"""


def read_settings(
    project_dir: Path,
    handlers: Mapping[str, str],
    resources: Mapping[str, Any],
    concurrency: int = DEFAULT_CONCURRENCY,
) -> list[FunctionSettings]:
    """The settings of each function. `handlers`: by name, what Lambda calls; `resources`: those of
    the template that Chalice merges.
    """
    config = json.loads((project_dir / ".chalice" / "config.json").read_text("utf-8"))
    stage = config.get("stages", {}).get(DEPLOYED_STAGE, {})
    return [
        FunctionSettings(
            name=name,
            handler=handler,
            timeout_seconds=_setting(config, stage, name, "lambda_timeout")
            or DEFAULT_TIMEOUT_SECONDS,
            memory_mib=_setting(config, stage, name, "lambda_memory_size") or DEFAULT_MEMORY_MIB,
            concurrency=_setting(config, stage, name, "reserved_concurrency")
            or reserved_concurrency(resources, name)
            or concurrency,
        )
        for name, handler in handlers.items()
    ]


def _setting(
    config: Mapping[str, Any], stage: Mapping[str, Any], function: str, name: str
) -> int | None:
    """The function's own, else the stage's, else the project's, as Chalice looks it up."""
    for level in (stage.get("lambda_functions", {}).get(function, {}), stage, config):
        if name in level:
            return int(level[name])
    return None


def reserved_concurrency(resources: Mapping[str, Any], function: str) -> int | None:
    """ReservedConcurrentExecutions of a function in the merged template, if it is a number."""
    properties = resources.get(logical_id(function), {}).get("Properties", {})
    value = properties.get("ReservedConcurrentExecutions")
    return value if isinstance(value, int) else None


def logical_id(function: str) -> str:
    """The logical id of a function in Chalice's package: launch_queued is LaunchQueued."""
    if function == API_HANDLER:
        return "APIHandler"
    return "".join(word.capitalize() for word in re.split(r"[_-]", function))


def resources_of(project_dir: Path) -> Mapping[str, Any]:
    """The resources of the project's template; none where it has no template."""
    template = project_dir / "infra" / "template.yaml"
    if not template.is_file():
        return {}
    resources: Mapping[str, Any] = load_template(template.read_text("utf-8"))["Resources"]
    return resources


def environ_of(settings: FunctionSettings) -> dict[str, str]:
    """The environment of a function: the dispatcher's, Lambda's variables, and a separate access
    key.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return os.environ | {
        "AWS_ACCESS_KEY_ID": FUNCTION_KEY + settings.name,
        "AWS_LAMBDA_FUNCTION_NAME": settings.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_mib),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }
