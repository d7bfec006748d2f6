"""Arrays and tensors carry their shape, in letters that CONTRIBUTING.md explains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHAPED = re.compile(r"_*[a-z]\w*_([A-Z0-9]*[A-Z][A-Z0-9]*)")


def legend() -> set[str]:
    """The letters in the table of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z]) \| .*? \| (?:([A-Z]) |.*?)\| .*\|$", text, re.MULTILINE)
    return {letter for row in rows for letter in row if letter}


def shapes(path: Path) -> Iterator[tuple[str, str]]:
    """Every identifier of a module that ends in a shape, with the shape."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for field in ("id", "arg", "attr"):
            name = getattr(node, field, None)
            if isinstance(name, str) and (found := SHAPED.fullmatch(name)):
                yield name, found[1]


def all_shapes() -> dict[str, set[str]]:
    """The identifiers of the product and of the laboratory by their shapes."""
    found: dict[str, set[str]] = {}
    for room in ("src", "lab/src"):
        for path in (ROOT / room).rglob("*.py"):
            for name, shape in shapes(path):
                found.setdefault(shape, set()).add(f"{path.relative_to(ROOT)}: {name}")
    return found


def test_the_legend_is_read_whole() -> None:
    assert set("BCDFGHIKLMNPQRSTVW") <= legend()


def test_every_letter_of_a_shape_is_in_the_legend() -> None:
    known, found = legend(), all_shapes()
    assert len(found) > 100, "the search for identifiers is broken"
    unknown = {shape: names for shape, names in found.items() if set(re.sub(r"\d", "", shape)) - known}
    assert unknown == {}, "add these letters to the table of CONTRIBUTING.md, or use known ones"


def test_texts_and_tokens_have_letters_of_their_own() -> None:
    assert {shape: names for shape, names in all_shapes().items() if "TT" in shape} == {}
