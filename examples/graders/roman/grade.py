"""Marks roman.py, a program that reads a number from 1 to 3999 and prints it in Roman numerals.

The learner's program runs by `usher-box run`: as another user, without these answers, within limits
of its own. What it prints is compared here, and is nothing but text.
"""

import json
import subprocess
from pathlib import Path

CASES = {4: "IV", 9: "IX", 40: "XL", 1990: "MCMXC", 2026: "MMXXVI", 3888: "MMMDCCCLXXXVIII"}


def run(number: int) -> dict:
    """How the learner's program ended, by usher-box."""
    limits = ["--time", "1", "--memory", "64"]
    command = ["usher-box", "run", *limits, "--stdin", "-", "--", "python3", "roman.py"]
    done = subprocess.run(
        command, input=f"{number}\n", stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def mark(number: int, expected: str) -> str:
    """What is wrong, in words; empty where nothing is."""
    ended = run(number)
    if ended["limit"] is not None:
        return f"{number}: stopped by its {ended['limit']} limit"
    if ended["exitCode"] != 0:
        return f"{number}: ended with an error\n{ended['stderr'][-500:]}"
    found = ended["stdout"].strip()
    return "" if found == expected else f"{number}: expected {expected}, found {found[:40]}"


def main() -> None:
    """Writes /shared/feedback.json."""
    problems = []
    for number, expected in CASES.items():
        if problem := mark(number, expected):
            problems.append(problem)
    right = len(CASES) - len(problems)
    text = "\n".join([f"{right} of {len(CASES)} numbers right.", *problems])
    result = {"fractionalScore": right / len(CASES), "feedback": text}
    Path("/shared/feedback.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
