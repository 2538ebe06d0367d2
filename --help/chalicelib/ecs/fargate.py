"""The task sizes of Fargate: only listed pairs of CPU and memory exist. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
"""

from collections.abc import Mapping

SIZES: Mapping[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16_384 + 1, 1024)),
    4096: tuple(range(8192, 30_720 + 1, 1024)),
    8192: tuple(range(16_384, 61_440 + 1, 4096)),
    16_384: tuple(range(32_768, 122_880 + 1, 8192)),
    32_768: (61_440, 122_880, 249_856),
}
"""Memory sizes in MiB by CPU units."""

REFUSAL = "No Fargate configuration exists for given values."
"""ECS's message for an invalid pair (ClientException of RegisterTaskDefinition)."""


def exists(cpu: int, memory: int) -> bool:
    """Whether Fargate has tasks of this size."""
    return memory in SIZES.get(cpu, ())


def problem_with(cpu: int, memory: int) -> str | None:
    """Why a task of this size cannot run on Fargate, with the possible sizes; None if it can.

    Reported to authors of apps files and jobs at deployment, before any start.
    """
    if exists(cpu, memory):
        return None
    if cpu not in SIZES:
        return f"{REFUSAL} cpu = {cpu}: Fargate has {', '.join(map(str, SIZES))}"
    possible = SIZES[cpu]
    step = possible[1] - possible[0]
    listed = (
        ", ".join(map(str, possible))
        if len(possible) <= 4
        else f"{possible[0]} to {possible[-1]} in steps of {step}"
    )
    return f"{REFUSAL} memory = {memory}: with cpu = {cpu} Fargate has {listed}"
