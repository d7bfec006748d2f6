"""What may be loaded when: heavy packages only where they work, and imports only downwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hivlp

ROOT = Path(__file__).parents[1]

TORCH_FREE = [
    "hivlp.types",
    "hivlp.errors",
    "hivlp.config",
    "hivlp.registry",
    "hivlp.data.images",
    "hivlp.data.sources",
    "hivlp.data.scenes",
    "hivlp.index.folder",
    "hivlp.search",
    "hivlp.stores.base",
    "hivlp.stores.local",
    "hivlp.encode",
    "hivlp.encode.onnx",
    "hivlp.retriever",
    "hivlp.evaluate.metrics",
    "hivlp.evaluate.protocols",
    "hivlp.evaluate.report",
    "hivlp.evaluate.contact_sheet",
]


def loaded_by(code: str) -> set[str]:
    """The top-level packages that are loaded after some code ran in a fresh interpreter."""
    script = f"import sys\n{code}\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_import_hivlp_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "faiss", "onnxruntime", "PIL", "numpy", "pydantic", "typer", "rich"}
    assert not loaded_by("import hivlp") & heavy


def test_help_loads_nothing_heavy() -> None:
    code = "from hivlp.cli.main import main\nmain(['--help'])\nmain(['search', '--help'])"
    # pydantic may be there: newer versions of typer parse with it.
    heavy = {"torch", "transformers", "faiss", "onnxruntime", "PIL", "numpy"}
    assert not loaded_by(code) & heavy


def test_help_answers_within_half_a_second() -> None:
    # The best of several, since other work on the machine is no fault of ours.
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hivlp", "--help"], capture_output=True, check=True, cwd=ROOT)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(4)) < 0.5


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
