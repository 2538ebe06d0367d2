"""References to secrets in task definitions, which never contain values.

ECS resolves them when a task starts, with its execution role, and sets a variable in the container.
Source: "Pass sensitive data to an Amazon ECS container", Amazon ECS Developer Guide.
"""

import re

REFERENCE = re.compile(
    r"arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@-]+(:[\w-]*:[\w-]*:[\w-]*)?"
    r"|(arn:[\w-]+:ssm:[\w-]+:\d{12}:parameter)?(/[\w.-]+)+"
)
REFERENCE_RULE = (
    "a secret's ARN in Secrets Manager (…:JSON-KEY:STAGE:VERSION may follow), or the ARN or the "
    "name (/usher/prod/token) of a parameter of the Parameter Store"
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def problems_of(secrets: object, environment: object) -> list[str]:
    """Problems of a table of variables and references; each completes a sentence."""
    if not isinstance(secrets, dict):
        return ["a table of variables and references"]
    problems = [f"{name!r} is no name of a variable" for name in secrets if not _is_name(name)]
    problems += [
        f"{name}: {REFERENCE_RULE}"
        for name, reference in secrets.items()
        if not isinstance(reference, str) or not REFERENCE.fullmatch(reference)
    ]
    if isinstance(environment, dict):
        problems += [f"{name} is in environment, too" for name in secrets if name in environment]
    return problems


def _is_name(name: object) -> bool:
    return isinstance(name, str) and VARIABLE.fullmatch(name) is not None
