from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hivlp.errors import IndexFolderError
from hivlp.index import lock
from hivlp.index.lock import WriteLock, read_holder

_HOLD = """
import sys
from pathlib import Path
from hivlp.index.lock import WriteLock
lock = WriteLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the lock until its standard input closes or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "write.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def pid_in(path: Path) -> int:
    holder = read_holder(path)
    assert holder is not None
    return holder.pid


def test_a_second_holder_is_refused_naming_the_first(tmp_path, other_process):
    with pytest.raises(IndexFolderError) as refused:
        WriteLock(tmp_path / "write.lock")
    assert f"process {other_process.pid} on {socket.gethostname()}" in str(refused.value)
    assert "Wait until it has finished" in str(refused.value)


def test_a_dead_holder_holds_nothing(tmp_path, other_process):
    other_process.kill()
    other_process.wait()
    assert pid_in(tmp_path / "write.lock") == other_process.pid
    held = WriteLock(tmp_path / "write.lock")
    assert pid_in(tmp_path / "write.lock") == os.getpid()
    held.release()


def test_the_same_process_is_refused_too_until_release(tmp_path):
    held = WriteLock(tmp_path / "write.lock")
    with pytest.raises(IndexFolderError, match=rf"process {os.getpid()}"):
        WriteLock(tmp_path / "write.lock")
    held.release()
    held.release()
    assert read_holder(tmp_path / "write.lock") is None
    WriteLock(tmp_path / "write.lock").release()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(IndexFolderError, match=r"can't write in .*nowhere"):
        WriteLock(tmp_path / "nowhere" / "write.lock")


@pytest.mark.parametrize(
    "text, taken_over",
    [("", True), ("rubbish", True), ("dead", True), ("alive", False), ("elsewhere", False)],
)
def test_where_the_file_system_knows_no_locks_the_text_decides(tmp_path, monkeypatch, text, taken_over):
    def no_locks(file):
        raise OSError(errno.ENOLCK, "No locks available")

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    pid, host = {
        "dead": (dead.pid, socket.gethostname()),
        "alive": (os.getppid(), socket.gethostname()),
        "elsewhere": (dead.pid, "another-machine"),
    }.get(text, (0, ""))
    path = tmp_path / "write.lock"
    path.write_text(json.dumps({"pid": pid, "host": host, "since": "today"}) if pid else text)
    monkeypatch.setattr(lock, "_try_lock", no_locks)
    if taken_over:
        held = WriteLock(path)
        assert pid_in(path) == os.getpid()
        held.release()
    else:
        with pytest.raises(IndexFolderError, match=f"process {pid} on {host}"):
            WriteLock(path)
        assert pid_in(path) == pid
