"""Runs one worker with the scripted runtime: `python -m tests.workers.run_worker SETTINGS LOAD_RETRY_SECONDS`."""

import sys

from service.settings import Settings
from service.telemetry.logs import configure_logging
from service.telemetry.traces import configure_tracing
from workers.main import run_worker

if __name__ == "__main__":
    configure_logging("info")
    configure_tracing("lumiere-worker")
    run_worker(Settings.model_validate_json(sys.argv[1]), "tests.workers.scripted:ScriptedRuntime", float(sys.argv[2]))
