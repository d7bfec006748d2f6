"""Adding reads what it needs once: ids are looked up once for a batch, and known content is hashed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes import ColourEncoder, gallery, painted
from hivlp.ingest.adding import Content
from hivlp.ingest.pictures import _Pictures
from hivlp.retriever import Index
from hivlp.stores.local import LocalStore
from hivlp.types import Item, Sample

NAMES = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The ids of every look-up in the store."""
    real, seen = LocalStore.fetch, list[list[str]]()

    def fetch(store: LocalStore, ids: Sequence[str]) -> list[Item | None]:
        seen.append(list(ids))
        return real(store, ids)

    monkeypatch.setattr(LocalStore, "fetch", fetch)
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the content of each sample was hashed to compare it."""
    real, seen = _Pictures.read, Counter[str]()

    def read(adding: _Pictures, sample: Sample) -> Content:
        seen[Path(sample.uri).name] += 1
        return real(adding, sample)

    monkeypatch.setattr(_Pictures, "read", read)
    return seen


def test_ids_are_looked_up_once_for_a_batch(
    tmp_path: Path, colours: ColourEncoder, lookups: list[list[str]], hashed: Counter[str]
) -> None:
    pictures = gallery(tmp_path / "pictures", *NAMES)
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        assert index.add(pictures, batch_size=3).indexed == 6
        assert [len(ids) for ids in lookups] == [3, 3]
        assert not hashed, "new pictures are compared with nothing"
        lookups.clear()
        painted("pink").save(pictures / "red.png")
        report = index.add(pictures, batch_size=3)
        assert (report.indexed, report.replaced, report.skipped) == (1, 1, 5)
        assert [len(ids) for ids in lookups] == [3, 3]
        assert hashed == {f"{name}.png": 1 for name in NAMES}


def test_a_picture_of_the_same_name_elsewhere_is_hashed_once_and_gets_its_path_as_id(
    tmp_path: Path, colours: ColourEncoder, lookups: list[list[str]], hashed: Counter[str]
) -> None:
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        index.add(gallery(tmp_path / "one", "red", "blue"))
        painted("green").save(gallery(tmp_path / "two", "red", "blue") / "red.png")
        lookups.clear()
        report = index.add(tmp_path / "two")
        assert (report.indexed, report.copies, report.replaced, report.skipped) == (2, 1, 0, 0)
        assert len(index) == 4
    first, renamed, copied = lookups
    assert sorted(first) == ["blue.png", "red.png"]
    assert [Path(name).parent.name for name in renamed] == ["two", "two"]
    assert [Path(name).name for name in copied] == ["blue.png"]
    assert hashed == {"red.png": 1, "blue.png": 1}
