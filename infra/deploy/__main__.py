"""python -m infra.deploy deploy|diff|destroy --stage NAME [--dry-run] [--yes]"""

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import ConfigurationError
from infra.deploy.access import describe_access
from infra.deploy.context import build_context, build_judge_context, content_hash
from infra.deploy.execute import Environment, Executor
from infra.deploy.plan import plan_deploy, plan_destroy, plan_diff
from infra.deploy.settings import Settings, SettingsError, parse_settings
from infra.deploy.stacks import DeployError
from infra.deploy.steps import Step
from infra.supply.bases import read_digests
from local.aws.template import load_template

ROOT = Path(__file__).parents[2]

ASSUMED_REGION = "us-east-1"
"""The region of a plan that is only shown, if neither the stage nor the environment has one."""


def load_settings(stage: str, region: str | None) -> Settings:
    """Read `infra/stages/<stage>.toml`; `region` is used unless the file names one.

    Raises SettingsError.
    """
    file = ROOT / "infra" / "stages" / f"{stage}.toml"
    try:
        document = tomllib.loads(file.read_text("utf-8"))
        return parse_settings(
            document,
            stage=stage,
            region=region,
            declared=declared_parameters(),
            digests=read_digests(),
        )
    except FileNotFoundError as error:
        raise SettingsError("no such file; copy that of dev, and its part of .chalice") from error
    except (ValueError, SettingsError) as error:  # also of TOML
        raise SettingsError(f"{file.relative_to(ROOT)}: {error}") from error


def declared_parameters() -> dict[str, Any]:
    """The Parameters of the template."""
    template = load_template((ROOT / "infra" / "template.yaml").read_text("utf-8"))
    return dict(template["Parameters"])


def plan(verb: str, settings: Settings) -> tuple[Step, ...]:
    """The steps of a verb."""
    if verb == "destroy":
        return plan_destroy(settings)
    if verb == "diff":
        return plan_diff(settings)

    def content(context: bytes) -> str:
        return content_hash(context, settings.base_image, settings.platform)

    judge = content(build_judge_context()) if settings.has_graders else ""
    return plan_deploy(settings, content(build_context()), judge)


def show(steps: Sequence[Step]) -> None:
    """Print every command of a plan."""
    for number, step in enumerate(steps, 1):
        print(f"# {number}. {step.title}")
        for command in step.commands():
            print(command)


def say() -> Callable[[str], None]:
    """Progress with the seconds since the start, on stderr."""
    started = time.monotonic()
    return lambda line: print(f"{time.monotonic() - started:7.1f}  {line}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done, 1: a step failed, 2: wrong usage, 3: not confirmed."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("verb", choices=("deploy", "diff", "destroy"))
    parser.add_argument("--stage", required=True)
    parser.add_argument("--dry-run", action="store_true", help="print every command, run none")
    parser.add_argument("--yes", action="store_true", help="destroy without asking")
    options = parser.parse_args(arguments)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    assumed = ASSUMED_REGION if options.dry_run and not region else None
    try:
        settings = load_settings(options.stage, region or assumed)
        steps = plan(options.verb, settings)
    except SettingsError as error:
        print(f"stage {options.stage}: {error}", file=sys.stderr)
        return 2
    if options.dry_run:
        if assumed and settings.region == assumed:
            print(f"AWS_REGION is not set: this plan assumes {assumed}", file=sys.stderr)
        show(steps)
        if options.verb == "deploy":
            print(f"# Who may use stage {settings.stage}")
            for line in describe_access(settings.parameters, declared_parameters()):
                print(f"#   {line}")
        return 0
    if options.verb == "destroy" and not options.yes and not _confirmed(settings):
        return 3
    return _carry_out(options.verb, steps, settings)


def _carry_out(verb: str, steps: Sequence[Step], settings: Settings) -> int:
    import boto3

    session = boto3.session.Session(region_name=settings.region)
    environment = Environment(client=session.client, say=say())
    if verb == "deploy":
        for line in describe_access(settings.parameters, declared_parameters()):
            environment.say(f"  {line}")
    try:
        Executor(environment, settings.region).execute(steps)
    except (DeployError, ConfigurationError) as error:
        environment.say(f"failed: {error}")
        return 1
    except (BotoCoreError, ClientError) as error:
        environment.say(
            f"failed: AWS says {error}. Nothing is half done: run this again when it is mended"
        )
        return 1
    environment.say("done")
    return 0


def _confirmed(settings: Settings) -> bool:
    print(
        f"This ends every session of stage {settings.stage} in {settings.region}, and deletes its "
        "tables, streams, images and logs.",
        file=sys.stderr,
    )
    answer = input(f"Type {settings.stage} to go on: ")
    if answer.strip() != settings.stage:
        print("nothing was done", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
