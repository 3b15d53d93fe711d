"""Schemathesis with all its checks and phases against a running gateway, without keys and with one: `make fuzz`."""

import sys

from service.telemetry.logs import configure_logging
from tests.fuzz.service import fuzz, service_under_fuzz

FEWER_EXAMPLES = "10"
"""With a key, where only the way in is another."""

if __name__ == "__main__":
    configure_logging("error")
    codes = []
    for options in ([], ["--max-examples", FEWER_EXAMPLES]):
        with service_under_fuzz(keys=bool(options)) as (url, *key):
            codes.append(fuzz(url, "--continue-on-failure", *sys.argv[1:], *key, *options).returncode)
    sys.exit(max(codes))
