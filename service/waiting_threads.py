"""How the threads of a program that computes wait for each other. GNU's OpenMP, which torch brings along on Linux,
reads it from the environment when it is loaded.
"""

from collections.abc import Mapping

SHORT_WAIT = {"GOMP_SPINCOUNT": "1000"}
"""Some 15 to 50 microseconds in a busy loop, about as long as it takes to wake a thread, and then asleep. OpenMP's own
choice is milliseconds: if another process has the core of one thread, the others keep theirs busy and it cannot move.
"""


def with_short_wait(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with `SHORT_WAIT`, unless it says already how threads wait."""
    told = environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    return {**environment, **({} if told else SHORT_WAIT)}
