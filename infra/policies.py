"""python -m infra.policies [--check]: the policy files of every stage, from those of `dev`.

`.chalice/policy-dev-*.json` are written by hand. Those of the other stages in
`.chalice/config.json` are derived from them, with the stage's own resources.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

CHALICE = Path(__file__).parents[1] / ".chalice"
SOURCE = "dev"
LOCAL = "local"
"""The stage without policies, because nothing checks them on a laptop."""


def rename(policy: str, stage: str) -> str:
    """The policy of stage `dev` with the names of another stage's resources. Pure."""
    policy = re.sub(rf"\busher-{SOURCE}(?![a-z0-9])", f"usher-{stage}", policy)
    return re.sub(rf"/usher/{SOURCE}\b", f"/usher/{stage}", policy)


def expected(folder: Path = CHALICE) -> dict[Path, str]:
    """Path and content of each file that is derived."""
    stages = json.loads((folder / "config.json").read_text("utf-8"))["stages"]
    return {
        path.with_name(path.name.replace(f"policy-{SOURCE}-", f"policy-{stage}-", 1)): rename(
            path.read_text("utf-8"), stage
        )
        for path in sorted(folder.glob(f"policy-{SOURCE}-*.json"))
        for stage in stages
        if stage not in {SOURCE, LOCAL}
    }


def stale(folder: Path = CHALICE) -> list[str]:
    """Names of files that are missing, differ from what is derived, or belong to no stage."""
    derived = expected(folder)
    wrong = {
        p.name for p, text in derived.items() if not p.exists() or p.read_text("utf-8") != text
    }
    own = set(folder.glob(f"policy-{SOURCE}-*.json"))
    wrong |= {path.name for path in set(folder.glob("policy-*.json")) - own - set(derived)}
    return sorted(wrong)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all files are up to date (now), 1: --check found files that are not."""
    parser = argparse.ArgumentParser(prog="python -m infra.policies", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    if parser.parse_args(arguments).check:
        found = stale()
        for name in found:
            print(f"stale: {name}")
        return 1 if found else 0
    for path, text in expected().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
