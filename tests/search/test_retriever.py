"""`Index`: create, add, resume, search, delete, with a fake encoder that knows colours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes import COLOURS, ColourEncoder, gallery, painted, png
from hivlp.errors import DataError, ImageError, IndexFolderError, ModelError, QueryError
from hivlp.retriever import Index
from hivlp.search.plan import Plan
from hivlp.search.query import Part, clean_query, mixed
from hivlp.search.request import OPTIONS, SearchRequest
from hivlp.types import Sample


@pytest.fixture
def filled(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        index.add(gallery(tmp_path / "pictures"))
        yield index


def test_words_find_the_picture(filled: Index, tmp_path: Path) -> None:
    hits = filled.search("something purple", k=3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].id == "purple.png"
    assert hits[0].uri == str(tmp_path / "pictures" / "purple.png")
    assert hits[0].caption == "something purple"
    assert hits[0].score > hits[1].score
    assert hits.timings_ms.encode > 0
    assert hits.timings_ms.total == pytest.approx(sum(list(hits.timings_ms.as_dict().values())[:4]))


@pytest.mark.parametrize("kind", ["path", "bytes", "pil"])
def test_a_picture_finds_its_like(filled: Index, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "query.png"
    path.write_bytes(png("orange"))
    query = {"path": path, "bytes": png("orange"), "pil": painted("orange")}[kind]
    assert filled.search(query, k=1)[0].id == "orange.png"


def test_a_batch_gives_what_single_queries_give(filled: Index) -> None:
    texts = ["red", "a blue thing", "grey or black"]
    together = filled.search_batch(texts, k=4)
    alone = [filled.search(text, k=4) for text in texts]
    assert [[(h.id, h.score) for h in hits] for hits in together] == [
        [(h.id, h.score) for h in hits] for hits in alone
    ]
    assert filled.search_batch([]) == []
    with pytest.raises(QueryError, match=r"'red boat' is one text: pass a list of texts"):
        filled.search_batch("red boat")


def test_exact_candidates_and_plan(filled: Index) -> None:
    exact = filled.search("red", k=12, exact=True)
    assert exact.plan["candidates"] == "all"
    assert len(exact) == 12
    one = filled.search("red", k=10, candidates=1)
    assert len(one) == 1
    assert one.plan["candidates"] == 1
    assert [h.id for h in filled.search("red", k=12, plan=Plan(candidates="all"))] == [h.id for h in exact]
    with pytest.raises(QueryError, match="exclude each other"):
        filled.search("red", candidates=3, exact=True)


def test_more_than_there_is_gives_all_there_is(filled: Index) -> None:
    assert len(filled.search("red", k=1000)) == len(COLOURS)


@pytest.mark.parametrize("k", [0, -1])
def test_no_hits_wanted_is_refused(filled: Index, k: int) -> None:
    with pytest.raises(QueryError, match="at least 1"):
        filled.search("red", k=k)


@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\0\x01\x7f", "\u200b\u200d", "\udc80"])
def test_a_query_without_a_visible_character_is_refused(filled: Index, text: str) -> None:
    with pytest.raises(QueryError, match="has no word: give some"):
        filled.search(text)


def test_words_that_the_model_cannot_read_are_told(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        assert len(index.search("a dog").notes) == 1, "that the index is empty"
        note, _ = index.search("a dog in the снег").notes
    assert note.startswith("the model can't read 'снег': its training captions did not have such letters")


def test_a_query_is_cleaned_and_kept_otherwise() -> None:
    assert clean_query("  two\tdogs\0on\na beach ") == "two dogs on a beach"
    assert clean_query("雪地里的一只狗") == "雪地里的一只狗"
    assert clean_query("👩\u200d👧 at the sea") == "👩\u200d👧 at the sea"
    assert clean_query("bad\udc80byte") == "bad byte"
    with pytest.raises(QueryError, match=r"3 is not a query of words but int: give text"):
        clean_query(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["雪地里的一只狗", "🐕❄️", "red " * 2500])
def test_strange_queries_are_answered(filled: Index, text: str) -> None:
    assert len(filled.search(text, k=5)) == 5


def test_a_cut_query_says_so(filled: Index) -> None:
    assert filled.search("red").notes == ()
    assert "its end was cut" in filled.search("red " * 100).notes[0]


def test_an_empty_index_answers_with_nothing(tmp_path: Path, colours: ColourEncoder) -> None:
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        assert len(index) == 0
        assert len(index.search("red")) == 0
        assert len(index.search("red", exact=True)) == 0


def test_the_report_and_the_progress_add_up(tmp_path: Path, colours: ColourEncoder) -> None:
    pictures = gallery(tmp_path / "pictures")
    (pictures / "broken.png").write_bytes(b"not a picture")
    (pictures / "empty.jpg").touch()
    seen: list[tuple[str, int, int | None]] = []
    with Index.create(tmp_path / "x.hivlp") as index:
        report = index.add(pictures, batch_size=5, progress=lambda *step: seen.append(step))
        assert len(index) == report.indexed == len(COLOURS)
    assert {Path(failure.uri).name for failure in report.failed} == {"broken.png", "empty.jpg"}
    assert report.seconds > 0
    assert report.items_per_s == pytest.approx(report.indexed / report.seconds)
    assert seen[-1] == ("0 unchanged, 2 failed", 14, 14)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_second_run_neither_decodes_nor_encodes(
    filled: Index, tmp_path: Path, colours: ColourEncoder
) -> None:
    encoded = colours.pictures_seen
    report = filled.add(tmp_path / "pictures")
    assert (report.indexed, report.skipped) == (0, len(COLOURS))
    assert colours.pictures_seen == encoded
    assert len(filled) == len(COLOURS)


def test_a_changed_picture_replaces_the_old_one(filled: Index, tmp_path: Path) -> None:
    painted("cyan").save(tmp_path / "pictures" / "red.png")
    report = filled.add(tmp_path / "pictures")
    assert (report.indexed, report.skipped) == (1, len(COLOURS) - 1)
    assert len(filled) == len(COLOURS)
    assert {hit.id for hit in filled.search("cyan", k=2)} == {"cyan.png", "red.png"}


def test_resume_trusts_known_ids(filled: Index, tmp_path: Path) -> None:
    painted("cyan").save(tmp_path / "pictures" / "red.png")
    painted("red", "blue").save(tmp_path / "pictures" / "new.png")
    report = filled.add(tmp_path / "pictures", resume=True)
    assert (report.indexed, report.skipped) == (1, len(COLOURS))
    assert filled.search("red", k=1)[0].id == "red.png"


def test_a_changed_caption_is_taken_over_without_encoding(
    filled: Index, tmp_path: Path, colours: ColourEncoder
) -> None:
    (tmp_path / "pictures" / "red.txt").write_text("a tomato\n", encoding="utf-8")
    encoded = colours.pictures_seen
    report = filled.add(tmp_path / "pictures")
    assert (report.indexed, report.skipped, colours.pictures_seen) == (0, len(COLOURS), encoded)
    assert filled.search("red", k=1)[0].caption == "a tomato"


def test_a_moved_folder_is_found_at_its_new_place(filled: Index, tmp_path: Path) -> None:
    moved = (tmp_path / "pictures").rename(tmp_path / "moved")
    assert filled.add(moved).indexed == 0
    assert filled.search("red", k=1)[0].uri == str(moved / "red.png")


def test_an_interrupt_loses_at_most_the_batch_in_flight(tmp_path: Path, colours: ColourEncoder) -> None:
    samples = [Sample(id=str(n), uri=colour, image=png(colour)) for n, colour in enumerate([*COLOURS] * 5)]

    def interrupt(line: str, done: int, total: int | None) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with Index.create(tmp_path / "x.hivlp") as index, pytest.raises(KeyboardInterrupt):
        index.add(samples, batch_size=4, progress=interrupt)
    with Index.open(tmp_path / "x.hivlp", writable=True) as index:
        assert len(index) == 12
        report = index.add(samples, batch_size=4)
        assert (report.indexed, report.skipped, len(index)) == (48, 12, 60)


def test_samples_that_can_not_be_indexed_are_listed(tmp_path: Path, colours: ColourEncoder) -> None:
    samples = [
        Sample(id="a", uri="a", image=png("red")),
        Sample(id="a", uri="again", image=png("blue")),
        Sample(id="t", uri="text", image=None, captions=("words only",)),
        Sample(id="gone", uri="gone", image=tmp_path / "gone.png"),
    ]
    with Index.create(tmp_path / "x.hivlp") as index:
        report = index.add(samples)
        assert len(index) == 1
    assert {failure.uri for failure in report.failed} == {"again", "text", "gone"}


def test_all_captions_the_split_and_the_metadata_are_kept(tmp_path: Path, colours: ColourEncoder) -> None:
    sample = Sample(
        id="a", uri="a", image=png("red"), captions=("one", "two"), split="val", meta={"colour": "red"}
    )
    with Index.create(tmp_path / "x.hivlp") as index:
        index.add([sample])
        hit = index.search("red")[0]
    assert hit.caption == "one"
    assert hit.meta == {"colour": "red", "captions": ["one", "two"], "split": "val"}


def test_delete(filled: Index) -> None:
    assert filled.delete(["red.png", "blue.png", "no such id"]) == 2
    assert len(filled) == len(COLOURS) - 2
    assert "red.png" not in {hit.id for hit in filled.search("red", k=100)}


def test_open_loads_the_model_that_the_index_names(filled: Index, tmp_path: Path) -> None:
    expected = [hit.as_dict() for hit in filled.search("pink")]
    filled.close()
    with Index.open(tmp_path / "x.hivlp") as index:
        assert [hit.as_dict() for hit in index.search("pink")] == expected
        assert index.info()["items"] == len(COLOURS)


def test_another_model_is_refused_naming_both(filled: Index, tmp_path: Path) -> None:
    filled.close()
    with pytest.raises(IndexFolderError, match=r"'mini'.*'other'"):
        Index.open(tmp_path / "x.hivlp", "other")
    with Index.open(tmp_path / "x.hivlp", writable=True):
        pass  # the refusal left no lock behind


def test_a_model_that_is_gone_is_named_with_the_remedy(tmp_path: Path, colours: ColourEncoder) -> None:
    Index.create(tmp_path / "x.hivlp", ColourEncoder("lost")).close()
    with pytest.raises(ModelError, match=r"'lost', which can't be loaded.*--model"):
        Index.open(tmp_path / "x.hivlp")


def test_ensure_opens_or_creates(tmp_path: Path, colours: ColourEncoder) -> None:
    (tmp_path / "x.hivlp").mkdir()
    for expected in (0, 1):
        with Index.ensure(tmp_path / "x.hivlp") as index:
            assert len(index) == expected
            index.add([Sample(id="a", uri="a", image=png("red"))])


def test_a_folder_of_other_things_is_no_index(tmp_path: Path, colours: ColourEncoder) -> None:
    pictures = gallery(tmp_path / "pictures")
    before = sorted(pictures.iterdir())
    for call in (Index.open, Index.ensure, Index.create):
        with pytest.raises(IndexFolderError):
            call(pictures)
    assert sorted(pictures.iterdir()) == before


def test_bad_query_pictures_have_messages(filled: Index, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"gone\.png is not a file"):
        filled.search(tmp_path / "gone.png")
    (tmp_path / "words.jpg").write_text("words")
    with pytest.raises(ImageError, match="it is a text file, not a picture"):
        filled.search(tmp_path / "words.jpg")


def test_a_missing_source_is_refused(filled: Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"):
        filled.add(tmp_path / "gone")


def test_a_lowest_score_cuts_the_weaker_hits(filled: Index) -> None:
    everything = filled.search("red", k=12)
    kept = filled.search("red", k=12, min_score=everything[3].score)
    assert [hit.id for hit in kept] == [hit.id for hit in everything][:4]
    assert kept.notes == ()
    assert len(filled.search("red", k=12, min_score=-1)) == 12


def test_where_nothing_scores_enough_a_note_names_the_best(filled: Index) -> None:
    hits = filled.search("red blue green", min_score=1.0)
    assert len(hits) == 0
    assert "nothing scored at least 1; the best score was 0." in hits.notes[0]
    both = filled.search("red blue green " * 100, min_score=1.0).notes
    assert ["cut" in note for note in both] == [True, False]


@pytest.mark.parametrize("score", [1.001, -2.0, float("nan")])
def test_a_lowest_score_out_of_range_is_refused(filled: Index, score: float) -> None:
    with pytest.raises(QueryError, match=r"min_score=.* is invalid: scores are cosines, .*between -1 and 1"):
        filled.search("red", min_score=score)
    with pytest.raises(QueryError, match=r"min_score=.* is invalid: scores are cosines, .*between -1 and 1"):
        filled.search(png("red"), min_score=score)


def test_a_lowest_score_over_an_empty_index_has_no_best(tmp_path: Path, colours: ColourEncoder) -> None:
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        hits = index.search("red", min_score=0.5)
    assert (len(hits), hits.notes) == (0, ("the index is empty; add images with hivlp index (Index.add)",))


def test_the_notes_of_a_source_are_in_the_report(filled: Index, tmp_path: Path) -> None:
    report = filled.add(tmp_path / "pictures", split="val")
    assert "has no splits" in report.notes[0]
    assert report.as_dict()["notes"] == report.notes


def test_two_folders_may_hold_pictures_of_one_name(tmp_path: Path, colours: ColourEncoder) -> None:
    """The second IMG_1 must not take the place of the first; a moved or an edited picture must."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, colour in ((first, "red"), (second, "blue")):
        folder.mkdir()
        (folder / "IMG_1.png").write_bytes(png(colour))
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        assert index.add(first).indexed == 1
        report = index.add(second)
        assert (report.indexed, report.replaced, len(index)) == (1, 0, 2)
        assert index.search("red", k=1)[0].uri == str(first / "IMG_1.png")
        assert index.search("blue", k=1)[0].uri == str(second / "IMG_1.png")
        for folder in (first, second):
            assert [index.add(folder, resume=resume).skipped for resume in (False, True)] == [1, 1]
        (first / "IMG_1.png").write_bytes(png("green"))
        edited = index.add(first)
        assert (edited.indexed, edited.replaced, len(index)) == (1, 1, 2)
        moved = first.rename(tmp_path / "moved")
        assert (index.add(moved).skipped, len(index)) == (1, 2)
        assert index.search("green", k=1)[0].uri == str(moved / "IMG_1.png")


def test_filters_and_kinds_reach_every_way_of_searching(filled: Index) -> None:
    where = "caption like '%red' or caption like '%blue'"
    expected = {"red.png", "blue.png"}
    assert {hit.id for hit in filled.search("green", where=where)} == expected
    for hits in filled.search_batch(["green", "red"], where=where):
        assert {hit.id for hit in hits} == expected
    assert {hit.id for hit in filled.search(png("green"), where=where)} == expected
    assert {hit.kind for hit in filled.search("green", kind="image")} == {"image"}
    assert len(filled.search("green", kind="text")) == 0
    with pytest.raises(QueryError, match=r"kind='video' is invalid: must be image or text"):
        filled.search("green", kind="video")


def test_a_mix_is_the_weighted_sum_at_every_level(filled: Index) -> None:
    parts = [Part(text="red", weight=2), Part(image=png("blue")), Part(item="pink.png", weight=-0.5)]
    texts, images = filled.encoder.encode_texts(["red"]), filled.encoder.encode_images([png("blue")])
    items = filled.store.embeddings(["pink.png"])
    for width in filled.encoder.widths:
        sum_D = 2 * texts[width] + images[width] - 0.5 * items[width]
        mix = mixed([texts, images, items], [2, 1, -0.5])[width]
        np.testing.assert_allclose(mix, sum_D / np.linalg.norm(sum_D), atol=1e-6)
    hits = filled.search(parts, k=3)
    (by_vector,) = filled.search_vectors(mixed([texts, images, items], [2, 1, -0.5]), SearchRequest(k=4))
    assert [hit.id for hit in hits] == [hit.id for hit in by_vector if hit.id != "pink.png"][:3]
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_a_mix_of_one_is_that_one(filled: Index) -> None:
    assert [h.id for h in filled.search([Part(text="red")])] == [h.id for h in filled.search("red")]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Part(), "this one has none of them"),
        (lambda: Part(text="a", item="b"), "this one has text and item"),
        (lambda: Part(text="a", weight=0), "weight=0 is invalid"),
        (lambda: Part(text="a", weight=float("nan")), "weight=nan is invalid"),
        (lambda: mixed([], []), "a mix needs at least one part"),
    ],
)
def test_parts_that_can_not_be(make: Callable[[], object], words: str) -> None:
    with pytest.raises(QueryError, match=words):
        make()


def test_parts_that_cancel_out_look_for_nothing(filled: Index) -> None:
    with pytest.raises(QueryError, match="cancel each other out"):
        filled.search([Part(text="red"), Part(text="red", weight=-1)])


def test_excluded_ids_leave_k_others_and_are_never_looked_at(filled: Index) -> None:
    everything = [hit.id for hit in filled.search("red", k=12)]
    for exact in (True, False):
        hits = filled.search("red", k=3, exact=exact, without=[everything[0], everything[2], "unknown"])
        assert [hit.id for hit in hits] == [everything[1], *everything[3:5]]
        assert [hit.rank for hit in hits] == [1, 2, 3]
    few = filled.search("red", k=3, candidates=3, without=everything[:2])
    assert len(few) == 3, "excluded items take no place among the candidates"
    assert filled.search("red", k=12, without=everything[:2]).notes == ()
    where = "caption like '%red' or caption like '%blue'"
    assert [hit.id for hit in filled.search("red", where=where, without=["red.png"])] == ["blue.png"]


def test_an_item_is_not_among_its_own_hits(filled: Index) -> None:
    hits = filled.search(Part(item="red.png"), k=12)
    assert len(hits) == 11
    assert "red.png" not in {hit.id for hit in hits}
    with pytest.raises(QueryError, match="has no item 'gone'"):
        filled.search(Part(item="gone"))


def test_a_query_of_another_type_is_refused(filled: Index) -> None:
    for query in (3, None, ["red"], []):
        with pytest.raises(QueryError, match=r"is not a query|at least one part"):
            filled.search(query)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no option 'min_scor': did you mean 'min_score'"):
        filled.search("red", min_scor=0.5)  # type: ignore[call-arg]


def test_nothing_is_encoded_for_a_request_that_is_refused(filled: Index, colours: ColourEncoder) -> None:
    colours.texts_seen.clear()
    for options in ({"k": 0}, {"recall": 2}, {"where": "colour ="}, {"min_probability": 0.5}, {"k": 2.5}):
        with pytest.raises(QueryError):
            filled.search("red", **options)
    for options in ({"rerank": 20}, {"min_probability": 0.5}):
        with pytest.raises(QueryError, match="only for searches by words"):
            filled.search(b"not even an image", **options)
    assert colours.texts_seen == []


def test_the_facade_compacts_and_verifies(filled: Index) -> None:
    filled.delete(["red.png", "blue.png"])
    assert filled.compact().dropped == 2
    findings = filled.verify()
    assert (findings.items, findings.problems) == (10, [])
    level = next((Path(filled.info()["path"]) / "levels").iterdir())
    data = bytearray(level.read_bytes())
    data[0] ^= 1
    level.write_bytes(data)
    assert filled.verify().problems


class _Elsewhere:
    """A store that is not an index folder."""

    model_name, model_fingerprint = "mini", "colours-1"


def test_folder_operations_need_a_folder(tmp_path: Path, colours: ColourEncoder) -> None:
    index = Index(_Elsewhere(), colours)  # type: ignore[arg-type]
    for call in (
        index.compact,
        index.verify,
        index.tune,
        lambda: index.prune("x"),
        lambda: index.export("x"),
    ):
        with pytest.raises(QueryError, match="only an index folder on this machine can be"):
            call()


def test_every_option_of_a_search_reaches_command_line_and_service() -> None:
    schemas = pytest.importorskip("hivlp.serve.schemas")
    from hivlp.cli.search import search as command

    everywhere = {name for name, option in OPTIONS.items() if option.type is not None}
    assert everywhere == set(OPTIONS) - {"plan", "without"}
    assert everywhere <= set(inspect.signature(command).parameters)
    assert everywhere <= set(inspect.signature(Index.search).parameters)
    for model in (schemas.SearchParameters, schemas.SearchBody, schemas.SearchesBody, schemas.SearchForm):
        described = model.model_json_schema()["properties"]
        assert {name: described[name]["description"] for name in everywhere} == {
            name: OPTIONS[name].help for name in everywhere
        }
