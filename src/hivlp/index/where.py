"""Filters over items, such as ``color = 'red' and price < 20``, made conditions of SQLite; it runs none.

A condition is put together from the fixed words of this module. Whatever a person wrote (texts, numbers,
names of metadata keys) is bound as a parameter, so no filter can be more than a condition of a SELECT.

    filter    := all ("or" all)*
    all       := test ("and" test)*
    test      := "not" test | "(" filter ")" | field predicate
    predicate := ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value | "is" ["not"] "null"
               | ["not"] ("like" text | "in" "(" value ("," value)* ")" | "between" value "and" value
               | "contains" value)
    field     := column | key ("." key)*
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from hivlp.errors import FilterError
from hivlp.index.where_tokens import OPERATORS, Token, error, tokens

MAX_LENGTH = 4_000
MAX_NESTING = 50

COLUMNS: Mapping[str, str] = {
    "id": "text",
    "kind": "text",
    "uri": "text",
    "caption": "text",
    "width": "number",
    "height": "number",
    "sha256": "text",
    "added_at": "text",
}
"""Columns of an item that a filter may read -> the type of their values. Other names are metadata keys."""

# What people try first -> the key that the content of pictures fills
_SYNONYMS = {
    **dict.fromkeys(("date", "datetime", "time", "taken", "day", "year"), "taken_at"),
    **dict.fromkeys(("tag", "tags", "keyword"), "keywords"),
    **dict.fromkeys(("model", "make"), "camera"),
    **dict.fromkeys(("latitude", "gps"), "lat"),
    **dict.fromkeys(("longitude", "lng"), "lon"),
}

FilterValue: TypeAlias = "str | int | float"

_COMPARISONS = frozenset({"=", "!=", "<>", "<", "<=", ">", ">="})


@dataclass(frozen=True)
class Key:
    """A metadata key that a filter reads: its path for SQLite, and where and how it was written."""

    path: str
    written: str
    place: int


@dataclass(frozen=True)
class Condition:
    """A parsed filter.

    Attributes:
        expression: as it was written.
        sql: a condition over the columns of ``items``, with named parameters.
        values: the parameters by name.
        keys: the metadata keys that it reads.
    """

    expression: str
    sql: str
    values: Mapping[str, FilterValue]
    keys: tuple[Key, ...]

    def unknown(self, key: Key, known: Iterable[str]) -> FilterError:
        """The error for a key that no item has, with the nearest of those that are known."""
        written = key.written.replace('"', "")
        names = [*known, *COLUMNS]
        near = difflib.get_close_matches(written, names, n=1, cutoff=0.5)
        meant = _SYNONYMS.get(written.lower())
        found = meant if meant in names else near[0] if near else None
        if found is None:
            remedy = f"Take a column ({', '.join(COLUMNS)}) or a metadata key that items have."
        elif found == written:
            remedy = f"The column {found} is written without double quotes."
        else:
            remedy = f"Did you mean {found}?"
        return error(self.expression, key.place, f"no item has the metadata key {key.written}", remedy)


def parse(expression: str) -> Condition:
    """Parses a filter.

    Raises:
        FilterError: the expression is invalid; the message shows the place, the rule and a remedy.
    """
    if len(expression) > MAX_LENGTH:
        raise FilterError(
            f"the filter has {len(expression):,} characters, the limit is {MAX_LENGTH:,}. Make it shorter."
        )
    if not expression.strip():
        raise FilterError(
            "the filter is empty. Write a test, such as color = 'red' and price < 20, or leave it out."
        )
    return _Parser(expression).condition()


@dataclass(frozen=True)
class _Field:
    """The left side of a test: SQL that gives its value; the type of a column, None for metadata."""

    sql: str
    written: str
    type: str | None
    path: str | None = None


class _Sql(NamedTuple):
    """A condition, in parentheses of its own or negated, and how deep it is nested."""

    text: str
    depth: int


class _Parser:
    """Recursive descent, one method a rule; each gives the SQL of what it read."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = tokens(expression)
        self.at = 0
        self.nesting = 0
        self.names: dict[tuple[type, FilterValue], str] = {}
        self.keys: dict[str, Key] = {}

    def condition(self) -> Condition:
        sql = self._filter().text
        if self._now.kind != "end":
            raise self._refused(
                "the filter should have ended before this",
                "Join tests by and/or, and close open brackets and quotes.",
            )
        values = {name: value for (_, value), name in self.names.items()}
        return Condition(self.expression, sql, values, tuple(self.keys.values()))

    def _filter(self) -> _Sql:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return _joined(" OR ", parts)

    def _all(self) -> _Sql:
        parts = [self._test()]
        while self._take("and"):
            parts.append(self._test())
        return _joined(" AND ", parts)

    def _test(self) -> _Sql:
        opening = self._now
        if not (self._take("not") or self._take("(")):
            return _Sql(self._predicate(self._field()), 1)
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.at -= 1
            raise self._refused(
                f"parentheses and not are nested more than {MAX_NESTING} deep", "Make the filter flatter."
            )
        if opening.text == "(":
            sql = self._filter()
            self._require(")", "the parenthesis has to be closed here")
        else:
            inner = self._test()
            sql = _Sql(f"NOT {inner.text}", inner.depth + 1)
        self.nesting -= 1
        return sql

    def _field(self) -> _Field:
        first = self._now
        parts = [self._key_part("a test begins with a column or a metadata key")]
        while self._take("."):
            parts.append(self._key_part("a dot is followed by a metadata key"))
        written = ".".join(f'"{part.text}"' if part.kind == "quoted" else part.text for part in parts)
        if len(parts) == 1 and first.kind == "word" and first.text in COLUMNS:
            return _Field(first.text, written, COLUMNS[first.text])
        path = "$" + "".join(f'."{part.text}"' for part in parts)
        self.keys.setdefault(path, Key(path, written, first.place))
        return _Field(f"json_extract(meta, {self._bind(path)})", written, None, path)

    def _key_part(self, rule: str) -> Token:
        part = self._now
        if part.kind not in ("word", "quoted"):
            raise self._refused(rule, "Write color = 'red', or put an odd name into double quotes.")
        if "\\" in part.text:
            raise self._refused("a metadata key with a backslash is not supported", "Rename the key.")
        self.at += 1
        return part

    def _predicate(self, field: _Field) -> str:
        operator = self._now
        if operator.kind == "mark" and operator.text in _COMPARISONS:
            self.at += 1
            return self._compared(field, operator.text)
        if self._take("is"):
            negated = self._take("not")
            self._require("null", "after is comes null or not null")
            return f"({field.sql} IS {'NOT ' if negated else ''}NULL)"
        negated = self._take("not")
        for word, read in (
            ("like", self._like),
            ("in", self._in),
            ("between", self._between),
            ("contains", self._contains),
        ):
            if self._take(word):
                return f"NOT {read(field)}" if negated else read(field)
        raise self._refused(
            f"an operator has to follow {field.written}",
            f"Take one of {OPERATORS}; for a yes or no write {field.written} = true.",
        )

    def _compared(self, field: _Field, operator: str) -> str:
        value = self._value(field)
        sql = f"{field.sql} {operator} {self._bind(value)}"
        if field.type is None and _is_other_side_open(operator, value):
            # SQLite puts all numbers before all texts; a filter compares values of one type only. The empty
            # text is the border.
            border = f"{field.sql} >= ''" if isinstance(value, str) else f"{field.sql} < ''"
            return f"({sql} AND {border})"
        return f"({sql})"

    def _like(self, field: _Field) -> str:
        if field.type == "number":
            self.at -= 1
            raise self._refused(
                f"like compares texts, and {field.written} is a number", f"Write {field.written} = 640."
            )
        sql = f"{field.sql} LIKE {self._bind(self._value(field, 'text'))} ESCAPE '\\'"
        return f"({sql})" if field.type else f"({sql} AND {field.sql} >= '')"

    def _in(self, field: _Field) -> str:
        self._require("(", "after in comes a list in parentheses")
        values = [self._value(field)]
        while self._take(","):
            values.append(self._value(field))
        self._require(")", "the list has to be closed here")
        return f"({field.sql} IN ({', '.join(map(self._bind, values))}))"

    def _between(self, field: _Field) -> str:
        low = self._value(field)
        self._require("and", "between takes two values with and between them")
        high = self._value(field, _type(low))
        return f"({field.sql} BETWEEN {self._bind(low)} AND {self._bind(high)})"

    def _contains(self, field: _Field) -> str:
        if field.path is None:
            self.at -= 1
            raise self._refused(
                f"contains looks into lists of the metadata, and {field.written} is a column",
                f"For a part of a text write {field.written} like '%dog%'.",
            )
        inside = f"json_each(items.meta, {self._bind(field.path)})"
        found = f"EXISTS (SELECT 1 FROM {inside} WHERE value = {self._bind(self._value(field))})"
        return f"(CASE WHEN {field.sql} IS NOT NULL THEN {found} END)"

    def _value(self, field: _Field, wanted: str | None = None) -> FilterValue:
        """The value that stands here; of the type that is wanted, or else of the column's."""
        value, written = self._literal(self._now), self._now.text
        wanted = wanted or field.type
        if wanted not in (None, _type(value)):
            example = f"'{written}'" if wanted == "text" else "a number without quotes, such as 640"
            raise self._refused(
                f"{field.written} is compared with a {wanted} here, and this is a {_type(value)}",
                f"Write {example}.",
            )
        self.at += 1
        return value

    def _literal(self, token: Token) -> FilterValue:
        if token.kind == "text":
            return token.text
        if token.kind == "number":
            return self._number(token.text)
        if token.kind == "keyword" and token.text in ("true", "false"):
            return int(token.text == "true")  # as SQLite reads them from JSON
        if token.text == "null" and token.kind == "keyword":
            raise self._refused("nothing equals null", "Write is null or is not null.")
        remedy = "Write a text in single quotes, a number, true or false."
        if token.kind in ("word", "quoted"):
            remedy = f"A text stands in single quotes: '{token.text}'."
        raise self._refused("a value has to stand here", remedy)

    def _number(self, text: str) -> int | float:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            return int(text)
        number = float(text)
        if not math.isfinite(number):
            raise self._refused(f"{text} is too large for a number", "Take one below 1e308.")
        return number

    def _bind(self, value: FilterValue) -> str:
        return ":" + self.names.setdefault((type(value), value), f"v{len(self.names)}")

    @property
    def _now(self) -> Token:
        return self.tokens[self.at]

    def _take(self, text: str) -> bool:
        """Steps over this keyword or mark where it stands here."""
        if self._now.kind not in ("keyword", "mark") or self._now.text != text:
            return False
        self.at += 1
        return True

    def _require(self, text: str, rule: str) -> None:
        if not self._take(text):
            raise self._refused(rule, f"Write {text} here.")

    def _refused(self, rule: str, remedy: str) -> FilterError:
        return error(self.expression, self._now.place, rule, remedy)


def _joined(word: str, parts: list[_Sql]) -> _Sql:
    """Several conditions as one, the deepest first.

    SQLite's parser has room for 100 open symbols, and only what stands before a parenthesis is open inside.
    """
    if len(parts) == 1:
        return parts[0]
    ordered = sorted(parts, key=lambda part: part.depth, reverse=True)
    return _Sql(f"({word.join(part.text for part in ordered)})", ordered[0].depth + 1)


def _is_other_side_open(operator: str, value: FilterValue) -> bool:
    """Whether SQLite's order of types would let values of the other type pass this comparison."""
    return operator in (("<", "<=") if isinstance(value, str) else (">", ">="))


def _type(value: FilterValue) -> str:
    return "text" if isinstance(value, str) else "number"
