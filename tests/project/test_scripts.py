"""Every benchmark, every example and the generator of the documentation can be imported as things are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    *sorted(ROOT.glob("benchmarks/*.py")),
    *sorted(ROOT.glob("examples/*.py")),
    ROOT / "docs/generate.py",
]

# One process imports them all, since each alone would load torch again.
IMPORT_ALL = """
import importlib, json, pathlib, sys
errors = {}
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    sys.path.insert(0, str(path.parent))
    try:
        importlib.import_module(path.stem)
    except Exception as error:
        errors[name] = f"{type(error).__name__}: {error}"
    sys.path.pop(0)
print(json.dumps(errors))
"""


def errors(scripts: list[Path]) -> dict[str, str]:
    """Path of a script -> why it could not be imported."""
    command = [sys.executable, "-c", IMPORT_ALL, *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    return json.loads(done.stdout.splitlines()[-1])


def test_scripts_can_be_imported() -> None:
    for package in ("torch", "playwright"):
        pytest.importorskip(package)
    assert len(SCRIPTS) > 10
    assert errors(SCRIPTS) == {}


def test_a_script_that_can_not_be_imported_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "sound.py").write_text("import json\n")
    (tmp_path / "stale.py").write_text("from hivlp.types import NoSuchThing\n")
    found = errors([tmp_path / "sound.py", tmp_path / "stale.py"])
    assert list(found) == [str(tmp_path / "stale.py")]
    assert "NoSuchThing" in found[str(tmp_path / "stale.py")]
