"""Filters: against a plain evaluator in Python, under attack, and as messages for people."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivlp.errors import QueryError
from hivlp.index.items import ItemTable
from hivlp.index.where import MAX_LENGTH, MAX_NESTING, parse
from hivlp.search.cascade import Plan
from hivlp.types import Item
from index_tools import create, embeddings

WORDS = ["red", "Red", "blue", "", "it's", "20", "-1.5", "100%", "a_b", "雪", "\\", "é", "É"]
NUMBERS = [0, 1, 2, 20, -1, -1.5, 0.25, 1e30, 2**53 + 1]
COLUMNS = {"caption": WORDS, "kind": ["image", "text"], "width": [1, 640, 800], "height": [480, 1.5]}
KEYS = ["color", "price", "mixed", "tags", "a.b", '"odd name"', '"width"']


def random_items(count: int, seed: int = 0) -> list[Item]:
    dice = random.Random(seed)

    def some(*choices: Any) -> Any:
        return dice.choice(choices)

    def scalar() -> Any:
        return some(*WORDS, *NUMBERS, True, False, None)

    def meta() -> dict[str, Any]:
        full = {
            "color": some(*WORDS),
            "price": some(*NUMBERS),
            "mixed": scalar(),
            "tags": some([scalar() for _ in range(dice.randrange(4))], scalar(), {"x": scalar()}),
            "a": some({"b": scalar()}, scalar(), {}),
            "odd name": scalar(),
            "width": scalar(),
        }
        return {key: value for key, value in full.items() if dice.random() < 0.8}

    return [
        Item(
            id=str(n),
            uri=f"{n}.jpg",
            kind=some("image", "text"),
            caption=some(*WORDS, None),
            width=some(1, 640, 800, None),
            height=some(480, None),
            meta=meta(),
        )
        for n in range(count)
    ]


# The slow twin: SQL's three-valued logic (True, False, None) over the parsed JSON of one item.


def value_of(item: Item, field: str) -> Any:
    if field in COLUMNS:
        return getattr(item, field)
    value: Any = dict(item.meta)
    for key in [field.strip('"')] if field.startswith('"') else field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def inside(item: Item, field: str) -> list[Any] | None:
    value: Any = item.meta
    for key in [field.strip('"')] if field.startswith('"') else field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return None
    return value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]


def same_type(a: Any, b: Any) -> bool:
    return isinstance(a, str) == isinstance(b, str)


def equal(a: Any, b: Any) -> bool:
    return same_type(a, b) and a == b


def fold(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def like(text: str, pattern: str) -> bool:
    """``%`` any run, ``_`` any letter, a backslash takes the next letter as it is."""
    if not pattern:
        return not text
    head, rest = pattern[0], pattern[1:]
    if head == "%":
        return any(like(text[n:], rest) for n in range(len(text) + 1))
    if head == "\\":
        return bool(rest and text) and text[0] == rest[0] and like(text[1:], rest[1:])
    return bool(text) and (head == "_" or text[0] == head) and like(text[1:], rest)


def meets(item: Item, tree: tuple[Any, ...]) -> bool | None:
    name, *rest = tree
    if name in ("and", "or"):
        answers = [meets(item, part) for part in rest]
        decisive = name == "or"
        return decisive if decisive in answers else None if None in answers else not decisive
    if name == "not":
        answer = meets(item, rest[0])
        return None if answer is None else not answer
    field, *values = rest
    if name == "contains":
        members = inside(item, field)
        return None if members is None else any(equal(m, values[0]) for m in members if m is not None)
    value = value_of(item, field)
    if name == "null":
        return value is None
    if value is None:
        return None
    if name == "like":
        return isinstance(value, str) and like(fold(value), fold(values[0]))
    if name == "in":
        return any(equal(value, one) for one in values)
    if name == "between":
        return same_type(value, values[0]) and values[0] <= value <= values[1]
    if name in ("=", "!=", "<>"):
        return equal(value, values[0]) == (name == "=")
    ordered = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[name]
    if not same_type(value, values[0]):
        return False
    value, other = (value, values[0]) if isinstance(value, str) else (value * 1, values[0] * 1)
    return bool(
        {
            "__lt__": value < other,
            "__le__": value <= other,
            "__gt__": value > other,
            "__ge__": value >= other,
        }[ordered]
    )


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def written(tree: tuple[Any, ...]) -> str:
    name, *rest = tree
    if name in ("and", "or"):
        return "(" + f" {name.upper()} ".join(map(written, rest)) + ")"
    if name == "not":
        return f"not {written(rest[0])}"
    field, *values = rest
    shown = [literal(value) for value in values]
    if name == "null":
        return f"{field} Is Null"
    if name == "in":
        return f"{field} in ({','.join(shown)})"
    if name == "between":
        return f"{field} between {shown[0]} and {shown[1]}"
    return f"{field} {name} {shown[0]}"


@st.composite
def predicates(draw: st.DrawFn) -> tuple[Any, ...]:
    field = draw(st.sampled_from([*COLUMNS, *KEYS]))
    texts = st.sampled_from(WORDS) | st.text("abRé%_\\'", max_size=4)
    numbers = st.sampled_from(NUMBERS) | st.integers(-30, 30)
    if field in COLUMNS:
        kind = texts if isinstance(COLUMNS[field][0], str) else numbers
    else:
        kind = draw(st.sampled_from([texts, numbers]))
    names = ["=", "!=", "<>", "<", "<=", ">", ">=", "null", "in", "between"]
    names += ["like"] * (field not in ("width", "height")) + ["contains"] * (field not in COLUMNS)
    name = draw(st.sampled_from(names))
    if name == "null":
        return (name, field)
    if name == "like":
        return (name, field, draw(texts))
    if name == "in":
        mixed = kind if field in COLUMNS else texts | numbers | st.booleans()
        return (name, field, *draw(st.lists(mixed, min_size=1, max_size=4)))
    return (name, field, *[draw(kind) for _ in range(2 if name == "between" else 1)])


def trees() -> st.SearchStrategy[tuple[Any, ...]]:
    return st.recursive(
        predicates(),
        lambda part: st.one_of(
            st.tuples(st.sampled_from(["and", "or"]), part, part, part),
            st.tuples(st.sampled_from(["and", "or"]), part, part),
            st.tuples(st.just("not"), part),
        ),
        max_leaves=8,
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("where") / "items.db"
    ItemTable.create(path)
    opened = ItemTable(path, writable=True)
    opened.write(new=random_items(150), retired=[])
    opened.write(retired=[3, 77])
    yield opened
    opened.close()


@settings(max_examples=400, deadline=None)
@given(tree=trees())
def test_a_filter_finds_what_a_plain_evaluator_finds(table: ItemTable, tree: tuple[Any, ...]) -> None:
    live = [(row, item) for row, item in enumerate(table.fetch(range(150))) if row not in (3, 77)]
    expected = [row for row, item in live if meets(item, tree) is True]
    assert table.rows_where(parse(written(tree))).tolist() == expected, written(tree)
    texts = [row for row in expected if dict(live)[row].kind == "text"]
    assert table.rows_where(parse(written(tree)), kind="text").tolist() == texts


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("a = 1 or b = 1 and c = 1", "a = 1 or (b = 1 and c = 1)"),
        ("not a = 1 and b = 1", "(not a = 1) and b = 1"),
        ("a not in (1, 2)", "not a in (1, 2)"),
        ("a not like 'x'", "not (a like 'x')"),
        ("a not between 1 and 2 or b = 1", "(not a between 1 and 2) or b = 1"),
        ("tags not contains 'x'", "not tags contains 'x'"),
        ("a\n=\t'x' AND NOT b IS NOT NULL", "a = 'x' and not b is not null"),
    ],
)
def test_precedence_and_spelling(expression: str, expected: str) -> None:
    one, two = parse(expression), parse(expected)
    assert one.sql.replace("(", "").replace(")", "") == two.sql.replace("(", "").replace(")", "")
    assert one.values == two.values


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with create(tmp_path / "x.hivlp") as made:
        made.append(random_items(120), embeddings(120))
        yield made


@settings(max_examples=40, deadline=None)
@given(tree=trees(), k=st.integers(1, 150))
def test_a_filtered_search_is_the_exact_search_over_what_is_left(
    store_of_120: Any, tree: tuple[Any, ...], k: int
) -> None:
    store = store_of_120
    query = embeddings(1, seed=5)
    where = written(tree)
    everything = store.search(query, k=120, plan=Plan(candidates="all"))[0]
    items = dict(zip(range(120), store.folder.items.fetch(range(120)), strict=True))
    left = {item.id for item in items.values() if meets(item, tree) is True}
    expected = [(hit.id, hit.score) for hit in everything if hit.id in left][:k]
    for plan in (None, Plan(candidates="all"), Plan(candidates=120)):
        (found,) = store.search(query, k=k, plan=plan, where=where)
        assert [(hit.id, hit.score) for hit in found] == expected
        assert bool(found.notes) == (len(left) < k)
    (few,) = store.search(query, k=k, plan=Plan(candidates=5), where=where)
    assert {hit.id for hit in few} <= left
    assert len(few) == min(k, 5, len(left))


@pytest.fixture(scope="module")
def store_of_120(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with create(tmp_path_factory.mktemp("where") / "x.hivlp") as made:
        made.append(random_items(120), embeddings(120))
        yield made


ATTACKS = [
    "'; DROP TABLE items; --",
    "x' OR '1'='1",
    "1) OR (1=1",
    "/* */ 1",
    "-- rest",
    "x'; ATTACH DATABASE '/tmp/y' AS y; --",
    "PRAGMA writable_schema=1",
    "' UNION SELECT sql FROM sqlite_master --",
    "a\0b",
    ":v0",
    "?1",
    "$.x",
    "@v",
    "load_extension('x')",
    "randomblob(1000000000)",
    "x'6162'",
    "‘curly’",
    "\u202e\u2028 text",
    "\ud800",
    "%s{0}%(a)s",
    "'" * 7,
    '"' * 7,
    "\\;",
]
FRAGMENTS = [
    "a",
    "'x'",
    "1",
    "(",
    ")",
    "and",
    "or",
    "not",
    "in",
    "like",
    "=",
    "<",
    ",",
    ".",
    '"',
    "is",
    "null",
]


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_are_values_or_refused_and_change_nothing(store: Any, attack: str) -> None:
    items = store.folder.items
    before = items.fetch(range(120)), items.version(), store.verify()
    quoted = "'" + attack.replace("'", "''") + "'"
    shapes = [
        attack,
        f"color = {attack}",
        f"color = {quoted}",
        f"color in ({quoted})",
        f"caption like {quoted}",
        f"tags contains {quoted}",
        f'"{attack}" = 1',
        f"{attack} = 1",
        f"color = 'red' {attack}",
    ]
    for expression in shapes:
        try:
            (hits,) = store.search(embeddings(1), k=120, where=expression)
        except QueryError as error:
            assert "  " in str(error)
        else:
            assert quoted in expression
            assert len(hits) == 0
    assert (items.fetch(range(120)), items.version(), store.verify()) == before


@settings(max_examples=300, deadline=None)
@given(text=st.text() | st.lists(st.sampled_from(FRAGMENTS)))
def test_any_text_is_understood_or_refused(table: ItemTable, text: str | list[str]) -> None:
    expression = text if isinstance(text, str) else " ".join(text)
    try:
        condition = parse(expression)
    except QueryError:
        return
    assert set(table.rows_where(condition).tolist()) <= set(range(150))


@pytest.mark.parametrize(
    "expression, rule, remedy",
    [
        ("", "the filter is empty", "color = 'red'"),
        ("color", "operator has to follow color", "color = true"),
        ("color = red", "a value has to stand here", "single quotes: 'red'"),
        ('color = "red"', "a value has to stand here", "single quotes: 'red'"),
        ("color == 'red'", "a value has to stand here", "a text in single quotes"),
        ("color = null", "nothing equals null", "is null"),
        ("color in ()", "a value has to stand here", "a number"),
        ("color in 'red'", "list in parentheses", "Write ( here"),
        ("color is 'red'", "null or not null", "Write null here"),
        ("(color = 'red'", "closed here", "Write ) here"),
        ("color = 'red')", "should have ended", "close open brackets and quotes"),
        ("color = 'red", "never closed", "twice: ''"),
        ('"color = 1', "never closed", 'another "'),
        ('"" = 1', "has to have a name", "double quotes"),
        ("price < 20eur", "not a number", "like 20"),
        ("price < 1e999", "too large", "1e308"),
        ("price = 20; select 1", "';' has no meaning", "Operators are"),
        ("id = 20", "id is compared with a text", "Write '20'"),
        ("width = '640'", "width is compared with a number", "without quotes"),
        ("price between 1 and 'x'", "price is compared with a number", "without quotes"),
        ("width like '6%'", "width is a number", "width = 640"),
        ("caption contains 'dog'", "caption is a column", "caption like '%dog%'"),
        ("a. = 1", "a dot is followed by", "double quotes"),
        ("like = 1", "a test begins with", "double quotes"),
        ('"a\\b" = 1', "backslash", "Rename"),
        ("color = 'a\0b'", "NUL", "Take it out"),
        ("x = 1 and " * 500, "the limit is 4,000", "shorter"),
        ("(" * 51 + "a = 1" + ")" * 51, "nested more than 50", "flatter"),
        ("not " * 51 + "a = 1", "nested more than 50", "flatter"),
    ],
)
def test_a_wrong_filter_shows_the_place_the_rule_and_a_remedy(
    expression: str, rule: str, remedy: str
) -> None:
    with pytest.raises(QueryError) as caught:
        parse(expression)
    assert rule in str(caught.value)
    assert remedy in str(caught.value)


def test_the_caret_stands_below_the_place() -> None:
    with pytest.raises(QueryError) as caught:
        parse("color = 'red' and\nprice <> cheap or x = 1")
    *_, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^") :].startswith("cheap")
    with pytest.raises(QueryError) as caught:
        parse("a = 1 and " * 50 + "b = wrong and " + "a = 1 and " * 50 + "c = 1")
    *_, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^") :].startswith("wrong")
    assert len(shown) < 100


def test_the_limits_themselves_are_allowed(table: ItemTable) -> None:
    deep = "(" * MAX_NESTING + "price = 1" + ")" * MAX_NESTING
    longest = "a=1 or " * ((MAX_LENGTH - 3) // 7) + "a=1"
    wide = "price in (" + ",".join(map(str, range(900))) + ")"
    second = "price = 1 and (color = 'x' or (" * (MAX_NESTING // 2) + "price > 1" + "))" * (MAX_NESTING // 2)
    both = "price > 2"
    while len(both) < MAX_LENGTH // 2 - 20:
        both = f"not ({both}) or ({both})"
    negated = "not (" * (MAX_NESTING // 2) + "price like 'x'" + ")" * (MAX_NESTING // 2)
    for expression in (deep, longest, wide, second, both, negated, "not " * MAX_NESTING + "price = 1"):
        assert len(table.rows_where(parse(expression))) < 150


def test_an_unknown_key_is_an_error_that_names_the_nearest(store: Any) -> None:
    for expression, near in [
        ("colour = 'red'", "Did you mean color?"),
        ("color = 'red' and a.c = 1", "Did you mean a.b?"),
        ("Width = 640", "Did you mean width?"),
        ('"caption" = 1', "The column caption is written without double quotes."),
        ("zzzzzz = 1", "Take a column"),
    ]:
        with pytest.raises(QueryError, match="no item has the metadata key") as caught:
            store.search(embeddings(1), k=1, where=expression)
        assert near in str(caught.value)
    store.delete([item.id for item in random_items(120) if "color" in item.meta])
    with pytest.raises(QueryError, match="no item has the metadata key color"):
        store.search(embeddings(1), k=1, where="color = 'red'")


def test_an_empty_index_knows_no_keys_and_refuses_none(tmp_path: Path) -> None:
    with create(tmp_path / "x.hivlp") as empty:
        (hits,) = empty.search(embeddings(1), k=1, where="colour = 'red'")
    assert (len(hits), hits.notes) == (
        0,
        ("the index is empty; add images with hivlp index (Index.add)",),
    )


def test_a_note_tells_how_many_a_filter_leaves(store: Any) -> None:
    store.append([Item(id="one", uri="1", meta={"only": 1})], embeddings(1))
    for where, words in [
        ("only = 1", "only 1 item passed"),
        ("only = 2", "no item passes"),
        ("id > ''", None),
    ]:
        (hits,) = store.search(embeddings(1), k=10, where=where)
        assert [words in note for note in hits.notes] == ([True] if words else [])


def test_the_rows_of_a_filter_are_kept_until_something_changes(store: Any) -> None:
    items = store.folder.items
    asked: list[Any] = []
    original = items.rows_where
    items.rows_where = lambda *a, **k: asked.append(a) or original(*a, **k)

    def found(where: str = "kind = 'image'") -> set[str]:
        return {hit.id for hit in store.search(embeddings(1), k=500, where=where)[0]}

    first = found()
    assert found() == first and len(asked) == 1
    for number in range(6):
        found(f"width = {number} or id > ''")
    assert len(asked) == 7
    found()
    assert len(asked) == 8, "only the last few are kept"
    changed = random_items(120)[0]
    item = Item(id=changed.id, uri="x", kind="text" if changed.kind == "image" else "image", sha256=None)
    store.append([item], embeddings(1))
    assert (changed.id in found()) != (changed.id in first)


def test_a_new_description_changes_the_answer(tmp_path: Path) -> None:
    """Same content, other metadata: the rows stay, and the filter must still see it."""
    with create(tmp_path / "x.hivlp") as store:
        for color in ("red", "blue"):
            store.append([Item(id="a", uri="a", sha256="s", meta={"color": color})], embeddings(1))
            (hits,) = store.search(embeddings(1), k=1, where="color = 'red'")
            assert len(hits) == (color == "red")


def test_metadata_that_is_no_json_is_refused_at_the_door(tmp_path: Path) -> None:
    from hivlp.errors import IndexFolderError

    with create(tmp_path / "x.hivlp") as store, pytest.raises(IndexFolderError, match="JSON"):
        store.append([Item(id="a", uri="a", meta={"x": float("nan")})], embeddings(1))


def test_a_filter_follows_a_compaction_that_renumbers_the_rows(store: Any) -> None:
    from hivlp.stores.local import LocalStore

    where = "kind = 'image' and id <> '7'"
    with LocalStore.open(store.folder.path) as reader:
        before = [hit.id for hit in reader.search(embeddings(1), k=120, where=where)[0]]
        store.delete([str(n) for n in range(60)])
        store.compact()
        after = [hit.id for hit in reader.search(embeddings(1), k=120, where=where)[0]]
    assert after == [name for name in before if int(name) >= 60]


def test_a_filter_takes_the_plan_of_the_whole_index_unless_it_leaves_few(tmp_path: Path) -> None:
    with create(tmp_path / "x.hivlp", 2_500) as store:
        (many,) = store.search(embeddings(1), k=5, where="n >= 10")
        (few,) = store.search(embeddings(1), k=5, where="n >= 1000")
        (all_,) = store.search(embeddings(1), k=5)
    assert many.plan == all_.plan
    assert (few.plan["candidates"], many.plan["candidates"]) == ("all", 200)
