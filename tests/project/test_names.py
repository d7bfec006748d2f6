"""One name, one thing: no class or type of the product shares its name with another."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PRODUCT = Path(__file__).parents[2] / "src/hivlp"


def named_types(module: ast.Module) -> Iterator[str]:
    """Names of the classes of a module, and of its type aliases and type variables."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for node in module.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) if name[:1].isupper() and not name.isupper():
                yield name


def places(root: Path) -> dict[str, list[str]]:
    """Name -> the files under `root` that define it."""
    found = defaultdict[str, list[str]](list)
    for path in sorted(root.rglob("*.py")):
        for name in named_types(ast.parse(path.read_text(encoding="utf-8"))):
            found[name].append(path.relative_to(root).as_posix())
    return found


def test_every_class_name_has_one_meaning() -> None:
    shared = {name: files for name, files in places(PRODUCT).items() if len(files) > 1}
    assert shared == {}


def test_the_search_for_names_finds_them(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "class One:\n    class Inner: ...\nAlias: TypeAlias = int\nOther = int\nA_B = 1\n"
    )
    (tmp_path / "b.py").write_text("def f():\n    class One: ...\n    Local = 1\n")
    assert places(tmp_path) == {
        "One": ["a.py", "b.py"],
        "Inner": ["a.py"],
        "Alias": ["a.py"],
        "Other": ["a.py"],
    }
