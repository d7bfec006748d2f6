"""Disks that are full or closed: an error that names the remedy, and nothing that was committed is lost."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from test_index_kill import CHANGES, new_index, reopened

from fault_points import watch
from hivlp.errors import IndexFolderError
from hivlp.index import lock
from hivlp.stores.local import LocalStore
from index_model import changed, held, make
from index_tools import create, items

SUPPORT = Path(__file__).parents[1] / "support"


class FullDisk:
    """Refuses the n-th call that needs space, and goes on refusing while ``full``."""

    def __init__(self, n: int) -> None:
        self.n, self.seen, self.full = n, 0, True

    def __call__(self, name: str) -> None:
        when, _, call = name.partition(" ")
        if when == "after" or not self.full or call in ("unlink", "truncate"):
            return
        self.seen += 1
        if self.seen >= self.n:
            if call.islower():
                raise OSError(errno.ENOSPC, "No space left on device")
            raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_disk_that_is_full_from_any_call_on_loses_nothing(tmp_path, change):
    start: list[dict[str, Any]] = [{"put": dict.fromkeys(range(15), 0)}, {"delete": [5, 6]}]
    model = changed(changed({}, start[0]), start[1])
    original = tmp_path / "original"
    with new_index(original) as store:
        for one in start:
            make(store, one)
    refusals, n = 0, 0
    while True:
        n += 1
        path, disk = tmp_path / f"full-{n}", FullDisk(1 << 30)
        shutil.copytree(original, path)
        with watch(disk), LocalStore.open(path, writable=True) as store:
            disk.seen, disk.n = 0, n
            try:
                make(store, change)
                now = changed(model, change)
            except IndexFolderError as error:
                assert "No space left" in str(error) or "disk is full" in str(error)
                assert "run the same command again" in str(error).replace("\n", " ")
                refusals, now = refusals + 1, model
            touched = disk.seen >= n
            disk.full = False
            assert held(store) == now
            make(store, change)
            assert held(store) == changed(now, change)
        assert reopened(path) == changed(model, change)
        if not touched:  # the change needs fewer calls than that
            break
    assert refusals >= 2


_LIMITED = """
import resource, sys
sys.path.insert(0, {tests!r})
from hivlp.errors import IndexFolderError
from hivlp.index.folder import IndexFolder
from index_tools import embeddings, items
folder, limit, widths = sys.argv[1], int(sys.argv[2]), tuple(map(int, sys.argv[3:]))
index = IndexFolder.open(folder, writable=True)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
first = 0
while True:
    try:
        index.append(items(20, first=first), embeddings(20, seed=first, widths=widths))
    except IndexFolderError as error:
        print(error)
        break
    first += 20
assert len(index) == first
print(first)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
index.append(items(20, first=first), embeddings(20, seed=first, widths=widths))
print(len(index))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
@pytest.mark.parametrize("widths, suffering", [((4, 512), "levels"), ((4, 8), "items.db")])
@pytest.mark.parametrize("limit", [70_000, 111_111])
def test_a_disk_that_really_takes_no_more(tmp_path, widths, suffering, limit):
    path = tmp_path / "x.hivlp"
    create(path, widths=widths).close()
    program = _LIMITED.format(tests=str(SUPPORT))
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path), str(limit), *map(str, widths)],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    message, written, total = ran.stdout.splitlines()
    assert "nothing of this batch was written" in message
    assert "make space on the disk" in message
    assert int(total) == int(written) + 20
    with LocalStore.open(path) as store:
        assert store.verify() == []
        assert store.fetch([f"id-{n}" for n in range(int(total))]) == items(int(total))
        largest = max(store.info()["bytes"].items(), key=lambda file: file[1])[0]
        assert largest.startswith(suffering)


def test_a_lock_that_can_not_be_written_down_is_given_back(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    create(tmp_path / "x.hivlp", 3).close()
    monkeypatch.setattr(lock.os, "write", full)
    with pytest.raises(IndexFolderError, match=r"can't write .*write.lock: No space left.*Make space"):
        LocalStore.open(tmp_path / "x.hivlp", writable=True)
    monkeypatch.undo()
    LocalStore.open(tmp_path / "x.hivlp", writable=True).close()


_READ_ONLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from hivlp.errors import IndexFolderError
from hivlp.stores.local import LocalStore
from index_tools import create, embeddings
with create(Path(sys.argv[2]), 3) as store:  # what is imported on the way may be another user's
    store.search(embeddings(1), k=1)
    store.verify()
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
with LocalStore.open(folder) as store:
    (hits,) = store.search(embeddings(20).take([7]), k=1)
    print(store.count(), hits[0].id, store.verify())
try:
    LocalStore.open(folder, writable=True)
except IndexFolderError as error:
    print(error)
"""


@pytest.fixture
def open_folder() -> Generator[Path, None, None]:
    """A new folder that every user may enter; pytest's own folders belong to one user alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
@pytest.mark.parametrize("log", ["none", "of a writer that runs", "of a writer that died"])
def test_a_folder_without_write_permission_can_be_read_whole_and_not_written(open_folder, log):
    path = open_folder / "x.hivlp"
    writer = create(path, 20)
    if log == "of a writer that died":  # as after a restart: the log is there, and the shared file is not
        shutil.copytree(path, open_folder / "copy", ignore=shutil.ignore_patterns("*-shm"))
        path = open_folder / "copy"
    if log == "none":
        writer.close()
    for each in (path, path / "levels"):
        each.chmod(0o555)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _READ_ONLY.format(tests=str(SUPPORT)), str(path), str(open_folder / "y")],
            capture_output=True,
            text=True,
        )
    finally:
        for each in (path, path / "levels"):
            each.chmod(0o755)
        writer.close()
    assert ran.returncode == 0, ran.stderr
    found, refusal = ran.stdout.splitlines()
    assert found == "20 id-7 []"
    assert "Writing needs permission for the whole index folder" in refusal
