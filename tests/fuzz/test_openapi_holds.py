"""What the OpenAPI document promises is kept: a short run of what `make fuzz` does at length."""

import re

import pytest

from tests.fuzz.service import fuzz, service_under_fuzz


@pytest.mark.timeout(600)
def test_no_check_of_schemathesis_fails() -> None:
    options = ("--phases", "examples,fuzzing,stateful", "--max-examples", "2", "--seed", "1", "--no-shrink")
    with service_under_fuzz() as url:
        done = fuzz(url, *options, capture=True)

    assert done.returncode == 0, done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None and int(generated[1]) > 50, done.stdout
