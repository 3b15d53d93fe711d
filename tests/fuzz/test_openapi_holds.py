"""What the OpenAPI document promises is kept: a short run of what `make fuzz` does at length."""

import re

import pytest

from tests.fuzz.service import fuzz, service_under_fuzz


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("keys", "phases", "examples"),
    [(False, "examples,fuzzing,stateful", "2"), (True, "examples,fuzzing", "1")],
    ids=["open", "keys"],
)
def test_no_check_of_schemathesis_fails(keys: bool, phases: str, examples: str) -> None:
    options = ("--phases", phases, "--max-examples", examples, "--seed", "1", "--no-shrink")
    with service_under_fuzz(keys=keys) as (url, *key):
        done = fuzz(url, *options, *key, capture=True)

    assert done.returncode == 0, done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None and int(generated[1]) > 50, done.stdout
