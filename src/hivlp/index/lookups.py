"""Finds live items by their place and by their content; it changes nothing and looks at no file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from hivlp.index.items import ItemTable
from hivlp.types import Item

# of one content: a data set may hold one placeholder a hundred thousand times, and each would look at all
MOST_ALIKE = 50
_BLOCK = 10_000


def at_uris(table: ItemTable, uris: Iterable[str]) -> list[Item]:
    """The items at these places, in the order in which they were added."""
    return _fetched(table, table.read_in("SELECT row FROM items WHERE deleted = 0 AND uri IN {}", uris))


def with_content(table: ItemTable, hashes: Iterable[str], *, kind: str) -> list[Item]:
    """The items of a kind with these SHA-256, the first ones of each, in the order of their adding."""
    numbered = (
        "SELECT row, row_number() OVER (PARTITION BY sha256 ORDER BY row) AS number FROM items "
        f"WHERE deleted = 0 AND kind = '{kind}' AND sha256 IN {{}}"
    )
    return _fetched(
        table, table.read_in(f"SELECT row FROM ({numbered}) WHERE number <= {MOST_ALIKE}", hashes)
    )


def doubled(table: ItemTable, *, kind: str) -> list[Item]:
    """The items of a kind that share their uri or their content with another one, in the order of adding."""
    rows = set[tuple[int, ...]]()
    for column in ("uri", "sha256"):
        sql = f"SELECT {column} FROM items WHERE deleted = 0 AND kind = ? GROUP BY 1 HAVING count(*) > 1"
        values = [value for (value,) in table.read(sql, (kind,)) if value is not None]
        rows.update(table.read_in(f"SELECT row FROM items WHERE deleted = 0 AND {column} IN {{}}", values))
    return [item for item in _fetched(table, list(rows)) if item.kind == kind]


def below(table: ItemTable, folder: str, *, kind: str) -> Iterator[Item]:
    """The items of a kind whose uri begins with a folder, which is compared as a text."""
    first = os.path.join(folder, "")  # noqa: PTH118  a path can't end in a separator
    after = first[:-1] + chr(ord(first[-1]) + 1)
    sql = "SELECT row FROM items WHERE deleted = 0 AND kind = ? AND uri >= ? AND uri < ? ORDER BY row"
    rows = [row for (row,) in table.read(sql, (kind, first, after))]
    for start in range(0, len(rows), _BLOCK):
        yield from table.fetch(rows[start : start + _BLOCK])


def _fetched(table: ItemTable, found: list[tuple[int, ...]]) -> list[Item]:
    return table.fetch(sorted({line[0] for line in found}))
