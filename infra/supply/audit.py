"""Known vulnerabilities of every locked package, by pip-audit.

`python -m infra.supply.audit` ends with 1 if there are any. If no database answers, it reports that
and ends with 0, or with 1 if REQUIRE_AUDIT=1.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.supply.locks import LOCKS, ROOT

SECONDS = 300
SERVICES = ("pypi", "osv")
"""Databases in the order in which they are tried."""


@dataclass(frozen=True)
class Finding:
    """A database's result for a lock."""

    vulnerabilities: tuple[str, ...] = ()
    unreachable: str = ""
    """Why the database did not answer; empty if it did."""


def read_report(code: int, stdout: str, stderr: str) -> Finding:
    """Parse pip-audit's JSON. A missing report, or a missing package, is no answer."""
    try:
        report: Mapping[str, Any] = json.loads(stdout)
    except json.JSONDecodeError:
        lines = stderr.strip().splitlines() or [f"pip-audit ended with {code}"]
        return Finding(unreachable=lines[-1])
    skipped = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    known = [
        f"{each['name']} {each['version']}: {one['id']}, fixed in {one['fix_versions'] or 'none'}"
        for each in report["dependencies"]
        for one in each.get("vulns", ())
    ]
    reason = f"nothing is known about {', '.join(skipped)}" if skipped else ""
    return Finding(tuple(known), reason)


def ask(lock: str, service: str) -> Finding:
    """Look one lock up in a database."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / lock)]
    command += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    command += ["--vulnerability-service", service, "--timeout", "20"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding(unreachable=f"no answer within {SECONDS} s")
    return read_report(done.returncode, done.stdout, done.stderr)


def audit(ask_service: Callable[[str, str], Finding], *, required: bool) -> tuple[int, list[str]]:
    """The exit code and the output. A database that does not answer is tried only once."""
    lines: list[str] = []
    for service in SERVICES:
        findings = {}
        for lock in LOCKS.values():
            findings[lock] = ask_service(lock, service)
            if findings[lock].unreachable:
                lines.append(f"{service}: {findings[lock].unreachable}")
                break
        known = [
            f"{lock}: {one}" for lock, each in findings.items() for one in each.vulnerabilities
        ]
        if known:
            return 1, [*lines, *known]
        if not any(each.unreachable for each in findings.values()):
            return 0, [*lines, f"{service} knows no vulnerability of {len(findings)} locks"]
    return int(required), [*lines, "SKIPPED: no database of vulnerabilities answers here"]


if __name__ == "__main__":
    exit_code, lines = audit(ask, required=os.environ.get("REQUIRE_AUDIT") == "1")
    print("\n".join(lines))
    sys.exit(exit_code)
