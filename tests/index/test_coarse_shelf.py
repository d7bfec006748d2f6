"""What is kept in ``coarse/``: it makes an opening quick, is never trusted blindly and never needed."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from fault_points import watch
from hivlp.index.coarse import CODES, CoarseShelf, CoarseSpec, Effort, faiss_index, kinds
from hivlp.index.mask import RowMask
from hivlp.index.verify import verify
from hivlp.search.plan import Plan
from hivlp.stores import local
from hivlp.stores.local import LocalStore
from index_tools import create, embeddings, items, unit

WIDTH = 16
SPECS = [
    *(CoarseSpec(kind=kind, width=WIDTH, code=code) for kind, codes in CODES.items() for code in codes),
    CoarseSpec(kind="ivf", width=WIDTH, dims=6, code="int8", lists=3),
]
KEPT = [spec for spec in SPECS if spec.name != "exact-16-float16"]
EFFORT = Effort(nprobe=2)
IVF = CoarseSpec(kind="ivf", width=WIDTH, code="int8")


def named(spec: CoarseSpec) -> str:
    return spec.name


def level(count: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, WIDTH))).astype(np.float16)


def answers(shelf: CoarseShelf, spec: CoarseSpec, level_ND: np.ndarray, generation: int = 0) -> bytes:
    """The bits of what a coarse index answers to some queries."""
    index = shelf.get(spec, level_ND, generation=generation)
    with mock.patch.object(type(index), "scan_up_to", 0):
        queries_QD = unit(np.random.default_rng(9).standard_normal((5, WIDTH)))
        scores_QK, rows_QK = index.search(
            queries_QD, 20, mask=RowMask(len(level_ND)), effort=Effort(nprobe=2)
        )
    return scores_QK.tobytes() + rows_QK.tobytes()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "coarse").glob("*"))}


def built(shelf: CoarseShelf, spec: CoarseSpec, level_ND: np.ndarray, generation: int = 0) -> bool:
    """Whether a coarse index had to learn, or to take in more than the rows that are new."""
    with mock.patch.object(kinds.KINDS[spec.kind], "_made", autospec=True) as made:
        made.side_effect = AssertionError("built anew")
        try:
            shelf.get(spec, level_ND, generation=generation)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("spec", KEPT, ids=named)
def test_what_is_kept_is_loaded_and_answers_to_the_bit_also_from_elsewhere(tmp_path, spec):
    level_ND, old = level(700), CoarseShelf(tmp_path / "a")
    (tmp_path / "a").mkdir()
    assert old.keep(spec, level_ND, generation=0)
    before = answers(old, spec, level_ND)
    (tmp_path / "a").rename(tmp_path / "b")
    new = CoarseShelf(tmp_path / "b")
    assert not built(new, spec, level_ND)
    assert answers(new, spec, level_ND) == before


def test_a_scan_of_the_level_itself_is_not_kept_twice(tmp_path):
    shelf = CoarseShelf(tmp_path)
    assert not shelf.keep(CoarseSpec(kind="exact", width=WIDTH), level(300), generation=0)
    assert not shelf.keep(IVF, level(0), generation=0)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("spec", KEPT, ids=named)
def test_new_rows_are_taken_in_and_written_when_a_tenth_is_lacking(tmp_path, spec):
    level_ND, first = level(500), CoarseShelf(tmp_path)
    assert first.keep(spec, level_ND[:400], generation=0)
    before = files(tmp_path)
    for shelf in (first, CoarseShelf(tmp_path)):
        assert not shelf.keep(spec, level_ND[:440], generation=0)
        assert files(tmp_path) == before
        assert len(shelf.get(spec, level_ND[:440], generation=0)) == 440
    grown = answers(shelf, spec, level_ND)
    assert shelf.keep(spec, level_ND, generation=0)
    assert len(files(tmp_path)) == len(before) == 2, "the old file is gone"
    assert answers(CoarseShelf(tmp_path), spec, level_ND) == grown


def damage_data(change):
    def damage(folder: Path) -> None:
        (data,) = (folder / "coarse").glob("*.faiss")
        data.write_bytes(change(data.read_bytes()))

    return damage


def damage_json(change):
    def damage(folder: Path) -> None:
        (path,) = (folder / "coarse").glob("*.json")
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        damage_data(lambda data: data[:-7] + bytes([data[-7] ^ 1]) + data[-6:]),
        damage_data(lambda data: data[: len(data) // 2]),
        damage_data(lambda data: b""),
        lambda folder: next((folder / "coarse").glob("*.faiss")).unlink(),
        lambda folder: next((folder / "coarse").glob("*.json")).unlink(),
        lambda folder: next((folder / "coarse").glob("*.json")).write_bytes(b"\xff{"),
        damage_json(lambda record: [record]),
        damage_json(lambda record: {**record, "format": "other"}),
        damage_json(lambda record: {**record, "version": 99}),
        damage_json(lambda record: {**record, "spec": {**record["spec"], "dims": 3}}),
        damage_json(lambda record: {**record, "generation": 1}),
        damage_json(lambda record: {**record, "rows": record["rows"] + 1}),
        damage_json(lambda record: {**record, "rows": "many"}),
        damage_json(lambda record: {**record, "trained_rows": None}),
        damage_json(lambda record: {**record, "crc32": "0"}),
        damage_json(lambda record: {**record, "file": "../../secret"}),
        damage_json(lambda record: {**record, "file": None}),
        damage_json(lambda record: {name: value for name, value in record.items() if name != "crc32"}),
    ],
)
def test_what_is_damaged_or_foreign_is_built_anew_and_replaced(tmp_path, damage):
    level_ND, shelf = level(700), CoarseShelf(tmp_path)
    shelf.keep(IVF, level_ND, generation=0)
    whole, before = files(tmp_path), answers(shelf, IVF, level_ND)
    damage(tmp_path)
    damaged = files(tmp_path)
    reader = CoarseShelf(tmp_path)
    assert built(reader, IVF, level_ND)
    assert answers(CoarseShelf(tmp_path), IVF, level_ND) == before
    assert files(tmp_path) == damaged, "asking writes nothing"
    assert CoarseShelf(tmp_path).keep(IVF, level_ND, generation=0), "the writer mends it"
    assert files(tmp_path) == whole


def test_damage_is_told_in_the_log(tmp_path, caplog):
    CoarseShelf(tmp_path).keep(IVF, level(300), generation=0)
    damage_data(lambda data: data[:-1] + bytes([data[-1] ^ 1]))(tmp_path)
    CoarseShelf(tmp_path).get(IVF, level(300), generation=0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "ivf-16-int8 is built anew: its checksum differs" in record.getMessage()


@pytest.mark.parametrize("spec", [spec for spec in KEPT if spec.code != "bits"], ids=named)
def test_what_was_outgrown_learns_anew(tmp_path, spec):
    level_ND, first = level(1_000), CoarseShelf(tmp_path)
    first.keep(spec, level_ND[:100], generation=0)
    index = first.get(spec, level_ND[:800], generation=0)
    assert index.trained_rows == 100
    learns = spec.code != "float16" or spec.kind == "ivf"
    for shelf in (first, CoarseShelf(tmp_path)):
        last = shelf.get(spec, level_ND, generation=0)
        assert last.trained_rows == (1_000 if learns else 100)
        assert len(last) == 1_000
    assert first.keep(spec, level_ND, generation=0)
    loaded = CoarseShelf(tmp_path).get(spec, level_ND, generation=0)
    assert loaded.trained_rows == (1_000 if learns else 100)


def test_rows_of_another_generation_have_other_numbers(tmp_path):
    old_ND, new_ND, first = level(300), level(200, seed=1), CoarseShelf(tmp_path)
    first.keep(IVF, old_ND, generation=0)
    for shelf in (first, CoarseShelf(tmp_path)):
        assert len(shelf.get(IVF, new_ND, generation=1)) == 200
        assert answers(shelf, IVF, new_ND, generation=1) == answers(CoarseShelf(tmp_path / "x"), IVF, new_ND)
    assert first.keep(IVF, new_ND, generation=1)
    assert [name for name in files(tmp_path) if name.endswith(".faiss")] == ["ivf-16-int8.1.200.faiss"]
    assert list(first.held()) == [IVF]


def test_keep_only_removes_the_others_from_memory_and_disk(tmp_path):
    level_ND, shelf = level(300), CoarseShelf(tmp_path)
    for spec in KEPT:
        shelf.keep(spec, level_ND, generation=0)
    shelf.keep_only({IVF})
    assert list(shelf.held()) == [IVF]
    assert {name.split(".")[0] for name in files(tmp_path)} == {"ivf-16-int8"}
    assert not shelf.keep(IVF, level_ND, generation=0)
    assert shelf.keep(KEPT[0], level_ND, generation=0), "what was removed can come back"
    shelf.remove_others(())
    assert files(tmp_path) == {}
    assert len(shelf.held()) == 2, "searches go on with what is in memory"
    assert shelf.keep(IVF, level_ND, generation=0)


def test_a_file_that_knows_more_rows_than_a_reader_answers_each_moment(tmp_path):
    """A reader that is behind loads what the writer kept since, and later catches up."""
    level_ND = level(3_000)
    CoarseShelf(tmp_path).keep(IVF, level_ND, generation=0)
    behind = CoarseShelf(tmp_path)
    for rows in (1_000, 1_500, 3_000):
        index = behind.get(IVF, level_ND[:rows], generation=0)
        newest = RowMask(rows).only(np.arange(rows - 20, rows))
        query_QD = unit(level_ND[rows - 1 : rows])
        _, rows_QK = index.search(query_QD, 3, mask=newest, effort=Effort())
        assert rows_QK[0, 0] == rows - 1


class Died(BaseException):
    """Stands for a kill."""


def test_a_kill_at_any_instant_leaves_what_can_be_used_or_built_anew(tmp_path):
    level_ND = level(400)
    (tmp_path / "start").mkdir()
    CoarseShelf(tmp_path / "start").keep(IVF, level_ND[:200], generation=0)
    anew = answers(CoarseShelf(tmp_path / "none"), IVF, level_ND)
    grown = answers(CoarseShelf(tmp_path / "start"), IVF, level_ND)
    instants: list[str] = []
    with watch(instants.append):
        CoarseShelf(shutil.copytree(tmp_path / "start", tmp_path / "count")).keep(IVF, level_ND, generation=0)
    assert len(instants) > 10
    for instant in range(len(instants)):
        folder = shutil.copytree(tmp_path / "start", tmp_path / f"at-{instant}")
        passed = iter(range(len(instants) + 9))

        def at(name: str, passed=passed, instant=instant) -> None:
            if next(passed) >= instant:
                raise Died

        with pytest.raises(Died), watch(at):
            CoarseShelf(folder).keep(IVF, level_ND, generation=0)
        reopened = CoarseShelf(folder)
        assert answers(reopened, IVF, level_ND) in (grown, anew)
        reopened.remove_others({IVF})
        reopened.keep(IVF, level_ND, generation=0)
        assert not built(CoarseShelf(folder), IVF, level_ND)
        assert set(files(folder)) == {"ivf-16-int8.0.400.faiss", "ivf-16-int8.json"}


@pytest.mark.timeout(60)
def test_threads_that_ask_for_the_same_get_the_same_object(tmp_path):
    level_ND, shelf = level(2_000), CoarseShelf(tmp_path)
    got, start = [], threading.Barrier(6)

    def ask(spec: CoarseSpec) -> None:
        start.wait()
        got.append(shelf.get(spec, level_ND, generation=0))

    threads = [threading.Thread(target=ask, args=(spec,)) for spec in [IVF, KEPT[0]] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 6
    assert len({id(index) for index in got}) == 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes from 21 items on are searched by inverted lists, and by nothing else."""
    usual = Plan(name="usual", coarse="ivf", coarse_width=WIDTH, candidates=20, nprobe=2)
    everything = Plan(name="all", candidates="all")

    def plan(count: int, *_: object) -> Plan:
        return usual if count > 20 else everything

    monkeypatch.setattr(local, "default_plan", plan)
    monkeypatch.setattr("hivlp.search.choice.default_plan", plan)
    monkeypatch.setattr("hivlp.search.choice.ALL_UP_TO", 20)
    monkeypatch.setattr(faiss_index.FaissIndex, "scan_up_to", 0)


def found(store: LocalStore, seed: int = 1) -> list[list[dict]]:
    return [[hit.as_dict() for hit in hits] for hits in store.search(embeddings(4, seed=seed), k=10)]


@pytest.mark.usefixtures("small")
def test_a_reopened_moved_index_answers_the_same_and_readers_never_write(tmp_path):
    with create(tmp_path / "x.hivlp", 300) as store:
        before = found(store)
        assert files(tmp_path / "x.hivlp") == {}
        store.prepare()
        assert set(files(tmp_path / "x.hivlp")) == {"ivf-16-int8.0.300.faiss", "ivf-16-int8.json"}
    moved = (tmp_path / "x.hivlp").rename(tmp_path / "y.hivlp")
    with LocalStore.open(moved) as reader, mock.patch.object(kinds.IvfIndex, "_made", None):
        assert found(reader) == before
        assert reader.info()["coarse_bytes"] == {"ivf-16-int8": 300 * (16 + 8)}
    shutil.rmtree(moved / "coarse")
    with LocalStore.open(moved) as reader:
        reader.prepare()
        assert found(reader) == before
    assert not (moved / "coarse").exists()


@pytest.mark.usefixtures("small")
def test_the_files_count_among_the_bytes_of_an_index(tmp_path):
    with create(tmp_path / "x.hivlp", 300) as store:
        before = store.info()
        store.prepare()
        after = store.info()
    kept = {f"coarse/{name}": len(content) for name, content in files(tmp_path / "x.hivlp").items()}
    assert len(kept) == 2
    assert after["bytes"] == {**before["bytes"], **kept}
    assert after["bytes_total"] == before["bytes_total"] + sum(kept.values())


@pytest.mark.usefixtures("small")
def test_compaction_renumbers_and_the_old_coarse_index_answers_no_more(tmp_path):
    vectors, folder = embeddings(300), tmp_path / "x.hivlp"
    with create(folder, 300) as store:
        store.prepare()
        stale = files(folder)
        store.delete(f"id-{n}" for n in range(0, 300, 3))
        report = store.compact()
        assert (report.dropped, store.count()) == (100, 200)
        assert set(files(folder)) == {"ivf-16-int8.1.200.faiss", "ivf-16-int8.json"}
        for n in (1, 100, 299):
            assert store.search(vectors.take([n]), k=1)[0][0].id == f"id-{n}"
        before = found(store)
    for name, content in stale.items():  # as if a kill had come before the new files
        (folder / "coarse" / name).write_bytes(content)
    assert verify(folder).problems == []
    with LocalStore.open(folder) as reader:
        assert found(reader) == before
    with LocalStore.open(folder, writable=True) as store:
        assert found(store) == before
        store.prepare()
        assert set(files(folder)) == {"ivf-16-int8.1.200.faiss", "ivf-16-int8.json"}


@pytest.mark.usefixtures("small")
def test_an_index_that_became_small_keeps_no_coarse_index(tmp_path):
    with create(tmp_path / "x.hivlp", 60) as store:
        store.prepare()
        assert len(files(tmp_path / "x.hivlp")) == 2
        store.delete(f"id-{n}" for n in range(50))
        before = sum(path.stat().st_size for path in (tmp_path / "x.hivlp").rglob("*"))
        freed = store.compact().bytes_freed
        assert files(tmp_path / "x.hivlp") == {}
        after = sum(path.stat().st_size for path in (tmp_path / "x.hivlp").rglob("*"))
        assert freed == pytest.approx(before - after, abs=70_000), "but for SQLite's own working files"
        store.append(items(60, first=100), embeddings(60, seed=3))
        store.prepare()
        assert len(files(tmp_path / "x.hivlp")) == 2
