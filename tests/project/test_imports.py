"""What may be loaded when: heavy packages only where they work, and imports only downwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hivlp
from hivlp.cli.main import app

ROOT = Path(__file__).parents[2]

TORCH_FREE = [
    "hivlp.types",
    "hivlp.errors",
    "hivlp.config",
    "hivlp.registry",
    "hivlp.data.images",
    "hivlp.data.sources",
    "hivlp.scenes",
    "hivlp.index.folder",
    "hivlp.search.cascade",
    "hivlp.stores.base",
    "hivlp.stores.local",
    "hivlp.encode",
    "hivlp.encode.onnx",
    "hivlp.exchange",
    "hivlp.retriever",
    "hivlp.evaluate.metrics",
    "hivlp.evaluate.protocols",
    "hivlp.evaluate.report",
    "hivlp.sheets.contact_sheet",
    *(
        f"hivlp_lab.bench.{path.stem}"
        for path in sorted((ROOT / "lab/src/hivlp_lab/bench").glob("[a-z]*.py"))
    ),
]


# What makes a start slow: each of these takes a tenth of a second or more.
HEAVY = {"torch", "transformers", "faiss", "onnxruntime", "tokenizers", "PIL", "numpy", "pyarrow", "sqlite3"}


def loaded_by(code: str) -> set[str]:
    """The top-level packages that are loaded after some code ran in a fresh interpreter."""
    script = f"import sys\n{code}\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_import_hivlp_loads_nothing_heavy() -> None:
    loaded = loaded_by("import hivlp")
    assert not loaded & {*HEAVY, "pydantic", "typer", "rich"}
    assert "hivlp" in loaded, "the probe itself works"


def test_help_loads_nothing_heavy() -> None:
    # pydantic may be there: newer versions of typer parse with it.
    code = "from hivlp.cli.main import main\nmain(['--help'])"
    assert not loaded_by(code) & HEAVY


def test_the_help_of_no_command_loads_anything_heavy() -> None:
    commands = [command.name for command in app.registered_commands]
    assert {"demo", "index", "search", "eval", "train", "export", "info"} <= set(commands)
    named = [[command] for command in commands] + [["bench", "search"], ["reproduce", "speed"]]
    code = f"from hivlp.cli.main import main\nfor name in {named}:\n    main([*name, '--help'])"
    assert not loaded_by(code) & HEAVY


def test_no_module_of_searching_and_serving_loads_torch() -> None:
    loaded = loaded_by("\n".join(f"import {name}" for name in TORCH_FREE))
    assert not loaded & {"torch", "transformers"}
    assert "numpy" in loaded, "the probe itself works"


def test_every_public_name_can_be_had() -> None:
    pytest.importorskip("numpy")
    for name in hivlp.__all__:
        assert getattr(hivlp, name) is not None
    assert set(hivlp.__all__) <= set(dir(hivlp))
    assert hivlp.__version__[0].isdigit()


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'serach'; it offers .*Index"):
        hivlp.serach  # noqa: B018


def test_imports_go_downwards_only() -> None:
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which(
        "lint-imports"
    )
    if program is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([program, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
