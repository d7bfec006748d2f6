"""A hash of the code that a number depends on, so that no number of other code is used again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import hivlp

ENCODING = ("encode", "data/images")
"""Parts of the library that the vectors of pictures and texts depend on."""
SEARCHING = ("search", "index", "tune", "encode", "stores")
"""Parts of the library that recall and time of a search depend on."""
MADE = ("vectors.py", "queries.py", "generator.py", "check.py", "recall.py")
"""Files of the benchmark that its items, queries and exact answers depend on."""
MEASURED = ("worker.py", "engines.py", "faiss_index.py", "recall.py")
"""Files of the benchmark that every measurement depends on; that of the engine comes on top."""

_LIBRARY, _BENCH = Path(hivlp.__file__).parent, Path(__file__).parent


def library_code(parts: Sequence[str], *, root: Path = _LIBRARY) -> str:
    """A hash, 16 hexadecimal digits, of all Python files below some folders of the library."""
    return code_of([path for part in parts for path in sorted((root / part).rglob("*.py"))], root=root)


def bench_code(files: Sequence[str], *, root: Path = _BENCH) -> str:
    """The same of some files of the benchmark."""
    return code_of([root / name for name in files], root=root)


def code_of(paths: Sequence[Path], *, root: Path) -> str:
    """A hash of the names and the contents of files."""
    found = hashlib.sha256()
    for path in paths:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        found.update(f"{name}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def whole_code() -> str:
    """A hash of everything that a result of ``hivlp bench search`` depends on."""
    engines = ("faiss_engines.py", "peers.py", "ours.py", "search.py")
    return joined(library_code(SEARCHING), library_code(ENCODING), bench_code((*MADE, *MEASURED, *engines)))


def short(source: str) -> str:
    """A source without the folders of this machine."""
    return source if ":" in source else "/".join(Path(source).parts[-2:])


def joined(*parts: str) -> str:
    """One short hash of several words."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
