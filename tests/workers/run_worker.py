"""Runs one worker with the scripted runtime: `python -m tests.workers.run_worker SETTINGS LOAD_RETRY_SECONDS`."""

import logging
import sys

from service.settings import Settings
from workers.main import run_worker

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    run_worker(Settings.model_validate_json(sys.argv[1]), "tests.workers.scripted:ScriptedRuntime", float(sys.argv[2]))
