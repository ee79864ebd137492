"""The service's directory: one process at a time, the same replica each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapter.errors import AdapterError
from adapter.sidecar.state import state_directory


def test_whoever_starts_again_in_it_is_the_same_replica(tmp_path: Path) -> None:
    with state_directory(tmp_path / "a" / "b") as first:
        assert first.replica.startswith("r-")
        assert first.journals.parent == tmp_path / "a" / "b"
    with state_directory(tmp_path / "a" / "b") as again:
        assert again.replica == first.replica
    with state_directory(tmp_path / "other") as other:
        assert other.replica != first.replica
    assert (tmp_path / "other").stat().st_mode & 0o077 == 0, "what is in it of runs may be secret"


def test_two_processes_cannot_have_it_at_once(tmp_path: Path) -> None:
    """Nor can a file description that a child has inherited keep it: the lock goes with the process."""
    code = f"""if True:
        from pathlib import Path
        from adapter.sidecar.state import state_directory
        with state_directory(Path({str(tmp_path)!r})):
            pass
    """
    with state_directory(tmp_path) as state:
        failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert failed.returncode == 1
        assert "serves from it; give each its own with --state" in failed.stderr
        with pytest.raises(AdapterError, match="serves from it"), state_directory(state.path):
            pass
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_directory_that_cannot_be_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AdapterError, match=r"state directory .*file: .*--state"), state_directory(tmp_path / "file"):
        pass


@pytest.mark.parametrize("name", ["", "Replica", "a" * 41, "-a", "a/b", "\n"])
def test_a_name_that_is_none_is_not_guessed_at(tmp_path: Path, name: str) -> None:
    (tmp_path / "identity").write_text(name)
    with pytest.raises(AdapterError, match="identity: is no replica's name"), state_directory(tmp_path):
        pass
    with pytest.raises(AdapterError, match="identity"), state_directory(tmp_path):
        pass  # and the lock was given back
