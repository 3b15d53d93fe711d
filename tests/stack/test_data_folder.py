"""A data folder has one stack at a time, and is free again as soon as that one and its Redis are gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.stack.data_folder import DataFolderInUse, hold


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = hold(tmp_path / "data")

    with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}.*LUMIERE_DATA_DIR"):
        hold(tmp_path / "data", patience=0.1)

    os.close(lock)
    os.close(hold(tmp_path / "data", patience=0.1))


def test_a_process_that_inherited_the_lock_keeps_it(tmp_path: Path) -> None:
    """Redis may still write its file after the stack was killed."""
    lock = hold(tmp_path)
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock]) as heir:
        os.close(lock)
        with pytest.raises(DataFolderInUse):
            hold(tmp_path, patience=0.1)
        assert heir.stdin is not None
        heir.stdin.close()

    os.close(hold(tmp_path, patience=5))


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError):
        hold(tmp_path / "file" / "data")
