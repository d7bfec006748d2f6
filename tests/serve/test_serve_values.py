"""The values of a JSON text are counted as a reader would count them, without reading."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hivlp.serve.routes.bodies import as_json, has_more_values

DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["a,b", "[{", '"', "\\", '\\"[']),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=30,
)


def marks(document: Any) -> int:
    """The twin: a mark opens every list and object, and one stands before each member but the first."""
    if not isinstance(document, (list, dict)):
        return 0
    members = list(document.values()) if isinstance(document, dict) else document
    return 1 + max(0, len(members) - 1) + sum(map(marks, members))


@settings(max_examples=100, deadline=None)
@given(document=DOCUMENTS, ascii_only=st.booleans())
def test_values_are_counted_outside_of_strings(document: Any, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only).encode()
    count = marks(document)
    assert not has_more_values(text, count + 1)
    assert count == 0 or has_more_values(text, count)


def test_what_is_no_json_is_counted_too() -> None:
    assert has_more_values(b"[" * 1_000, 1_000)
    assert not has_more_values(b'"' + b"," * 1_000 + b'"', 1_000)
    assert has_more_values(b'"' + b"," * 1_000, 1_000), "a string without end is none"


def test_an_answer_holds_whatever_an_index_holds() -> None:
    document = {"uri": "a\udcff.png", "number": 10**40, "nothing": None, "text": "ü"}
    read = json.loads(bytes(as_json(document).body))
    assert read == {**document, "uri": "a?.png"}
