"""Schemathesis with all its checks against a running gateway, every phase of it: `make fuzz`."""

import sys

from service.telemetry.logs import configure_logging
from tests.fuzz.service import fuzz, service_under_fuzz

if __name__ == "__main__":
    configure_logging("error")
    with service_under_fuzz() as url:
        sys.exit(fuzz(url, "--continue-on-failure", *sys.argv[1:]).returncode)
