"""Each command on good input: what people see, and the JSON document that programs read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fakes import COLOURS, ColourEncoder, gallery, png
from ran import Ran

Hivlp = Callable[..., Ran]


@pytest.fixture
def captioned(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> Path:
    """Pictures of two colours each, with captions; none of them is cyan."""
    words = [word for word in COLOURS if word != "cyan"]
    pictures = gallery(tmp_path / "pairs", *(f"{a}-{b}" for a in words for b in words if a != b))
    assert hivlp("index", pictures, "--out", tmp_path / "pairs.hivlp").code == 0
    return tmp_path / "pairs.hivlp"


def test_index_makes_an_index_and_says_so(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    ran = hivlp("index", gallery(tmp_path / "pictures"), "--out", tmp_path / "x.hivlp")
    assert ran.code == 0
    assert "12 indexed, 0 unchanged, 0 failed" in ran.out
    assert "12 items now" in ran.out


def test_index_lists_failures_and_goes_on(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures")
    for number in range(12):
        (pictures / f"bad{number:02}.jpg").write_text("no picture")
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json")
    assert ran.code == 0
    document = ran.document
    assert {"indexed", "skipped", "failed", "seconds", "items_per_s"} <= set(document)
    assert (document["indexed"], document["skipped"], document["items"]) == (12, 0, 12)
    assert len(document["failed"]) == 12
    assert set(document["failed"][0]) == {"uri", "error"}
    assert "bad09.jpg" in ran.err, "the first ten are shown"
    assert "bad10.jpg" not in ran.err
    assert "2 more" in ran.err


def test_index_again_adds_what_is_new(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    gallery(tmp_path / "pictures", "red-blue")
    document = hivlp("index", tmp_path / "pictures", "--out", photos, "--json").document
    assert (document["indexed"], document["skipped"], document["items"]) == (1, 12, 13)
    again = hivlp("index", tmp_path / "pictures", "--out", photos, "--resume", "--json").document
    assert (again["indexed"], again["skipped"]) == (0, 13)


def test_search_prints_a_table(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "something purple", "-k", "3")
    assert ran.code == 0
    first = next(line for line in ran.out.splitlines() if line.lstrip().startswith("1 "))
    assert "purple.png" in first
    assert "something purple" in first
    assert "3 hits in" in ran.out


def test_search_gives_the_document_of_the_design(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "something purple", "-k", "3", "--json")
    document = ran.document
    assert {"hits", "timings_ms", "plan"} <= set(document)
    assert [hit["rank"] for hit in document["hits"]] == [1, 2, 3]
    scores = {"score", "coarse_score", "coarse_rank", "probability", "rerank_score"}
    facts = {"rank", "id", "uri", "kind", "caption", "meta", "width", "height", "similar"}
    assert set(document["hits"][0]) == facts | scores
    assert document["hits"][0]["probability"] is None, "nobody has tuned the index"
    assert set(document["timings_ms"]) == {"encode", "coarse", "fine", "rerank", "total"}
    assert document["hits"][0]["id"] == "purple.png"


def test_search_exact_and_with_candidates(photos: Path, hivlp: Hivlp) -> None:
    exact = hivlp("search", photos, "red", "--exact", "--json").document
    assert exact["plan"]["candidates"] == "all"
    few = hivlp("search", photos, "red", "--candidates", "4", "--json").document
    assert (few["plan"]["candidates"], len(few["hits"])) == (4, 4)
    assert few["hits"][0] == {**exact["hits"][0], "coarse_score": few["hits"][0]["coarse_score"]}


def test_search_with_words_and_a_picture(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    picture = tmp_path / "query.png"
    picture.write_bytes(png("orange"))
    options = ["--image", picture, "-k", "4", "--json"]
    found = [hit["id"] for hit in hivlp("search", photos, "blue", *options).document["hits"]]
    assert {"orange.png", "blue.png"} <= set(found)
    words = [hit["id"] for hit in hivlp("search", photos, "blue", "-k", "4", "--json").document["hits"]]
    assert found != words
    by_item = hivlp("search", photos, "blue", "--item", "orange.png", "-k", "4", "--json").document["hits"]
    assert "orange.png" not in [hit["id"] for hit in by_item], "a query does not find its own parts"
    two = hivlp("search", photos, "--item", "orange.png", "--item", "blue.png", "-k", "4", "--json").document
    assert not {"orange.png", "blue.png"} & {hit["id"] for hit in two["hits"]}, "none of them is dropped"
    sheet = hivlp("search", photos, "blue", *options, "--sheet", tmp_path / "sheet.png")
    assert sheet.code == 0


def test_search_with_a_picture(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    (tmp_path / "query.png").write_bytes(png("orange"))
    document = hivlp("search", photos, "--image", tmp_path / "query.png", "-k", "1", "--json").document
    assert document["hits"][0]["id"] == "orange.png"


@pytest.mark.parametrize("by", ["words", "picture"])
def test_search_draws_a_sheet(photos: Path, tmp_path: Path, hivlp: Hivlp, by: str) -> None:
    (tmp_path / "query.png").write_bytes(png("orange"))
    query = ["red"] if by == "words" else ["--image", tmp_path / "query.png"]
    ran = hivlp("search", photos, *query, "--sheet", tmp_path / "hits.png", "--json")
    assert ran.document["contact_sheet"] == str(tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as sheet:
        assert sheet.width > 1000


def test_delete_and_verify(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("delete", photos, "red.png", "nothing", "--json")
    assert (ran.code, ran.document["deleted"], ran.document["items"]) == (0, 1, 11)
    assert ran.document["unknown"] == ["nothing"]
    assert "nothing" in ran.err
    ran = hivlp("verify", photos, "--json")
    assert (ran.code, ran.document["ok"], ran.document["problems"]) == (0, True, [])


def test_delete_says_what_was_unknown_and_fails_where_all_was(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("delete", photos, "nothing", "no/such/path.png", "--json")
    assert (ran.code, ran.document["deleted"], ran.document["items"]) == (2, 0, 12)
    assert ran.document["unknown"] == ["nothing", "no/such/path.png"]
    assert "no item has the id or path 'nothing'\n" in ran.err


def test_delete_takes_ids_and_paths(photos: Path, hivlp: Hivlp) -> None:
    path = photos.parent / "pictures" / "red.png"
    ran = hivlp("delete", photos, path, "blue.png", "--json")
    assert (ran.code, ran.document["deleted"], ran.document["unknown"]) == (0, 2, [])
    left = {hit["id"] for hit in hivlp("search", photos, "red", "-k", "20", "--json").document["hits"]}
    assert len(left) == 10 and not left & {"red.png", "blue.png"}


def test_search_shows_one_path_or_id_of_each_hit(photos: Path, hivlp: Hivlp) -> None:
    shown = hivlp("search", photos, "purple", "-k", "1").out
    assert shown.splitlines()[0].split() == ["rank", "score", "caption", "path"]
    assert shown.splitlines()[1].endswith(f"  {photos.parent / 'pictures' / 'purple.png'}")
    (photos.parent / "one.txt").write_text("red\n", encoding="utf-8")
    hivlp("index", photos.parent / "one.txt", "--texts", "--out", photos)
    shown = hivlp("search", photos, "red", "--kind", "text").out
    assert "one.txt#1" in shown
    assert "1 hit in" in shown


def test_search_without_hits_prints_no_empty_table(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "red", "--kind", "text")
    assert ran.out.startswith("0 hits in ")


def test_one_is_no_plural(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    index = tmp_path / "x.hivlp"
    pictures = gallery(tmp_path / "pictures", "red", "blue")
    hivlp("index", pictures, "--out", index)
    assert "x.hivlp holds 1 item now" in hivlp("delete", index, "red.png").out
    assert "1 deleted row dropped" in hivlp("compact", index).out
    assert hivlp("verify", index).out == f"{index}: 1 item, no problem found\n"
    (pictures / "red.png").unlink()
    assert "1 caption, 1 unchanged, 0 failed" in hivlp("index", pictures, "--out", index, "--captions").out


def test_compact_drops_what_was_deleted(photos: Path, hivlp: Hivlp) -> None:
    hivlp("delete", photos, "red.png", "green.png")
    before = hivlp("info", photos, "--json").document
    document = hivlp("compact", photos, "--json").document
    assert set(document) == {"index", "dropped", "bytes_freed", "items"}
    assert (document["dropped"], document["items"]) == (2, 10)
    after = hivlp("info", photos, "--json").document
    assert (after["rows"], after["deleted"]) == (10, 0)
    assert before["bytes_total"] - after["bytes_total"] == document["bytes_freed"]
    ran = hivlp("compact", photos)
    assert (ran.code, ran.out) == (0, f"0 deleted rows dropped, 0.0 KB freed; {photos} holds 10 items\n")
    assert hivlp("verify", photos, "--json").document["ok"]
    assert hivlp("search", photos, "purple", "--json").document["hits"][0]["id"] == "purple.png"


def test_verify_answers_also_where_the_index_does_not_open(photos: Path, hivlp: Hivlp) -> None:
    next((photos / "levels").iterdir()).unlink()
    ran = hivlp("verify", photos, "--json")
    assert (ran.code, ran.document["ok"], ran.document["items"]) == (2, False, 12)
    assert "is missing" in ran.document["problems"][0]
    assert "is missing" in hivlp("verify", photos).out
    (photos / "manifest.json").write_text("{")
    ran = hivlp("verify", photos, "--json")
    assert (ran.code, ran.document["ok"], ran.document["items"]) == (2, False, None)
    assert "manifest.json is damaged" in ran.document["problems"][0]


def test_verify_notes_what_an_interrupted_compaction_left(photos: Path, hivlp: Hivlp) -> None:
    (photos / "levels/8.g1.float16").write_bytes(b"half")
    ran = hivlp("verify", photos, "--json")
    assert (ran.code, ran.document["ok"]) == (0, True)
    assert "8.g1.float16 (4 bytes) is the rest" in ran.document["notes"][0]
    assert "8.g1.float16" in hivlp("verify", photos).err


def test_verify_finds_damage_and_exits_with_2(photos: Path, hivlp: Hivlp) -> None:
    level = next((photos / "levels").iterdir())
    data = bytearray(level.read_bytes())
    data[10] ^= 0xFF
    level.write_bytes(bytes(data))
    ran = hivlp("verify", photos, "--json")
    assert (ran.code, ran.document["ok"]) == (2, False)
    assert level.name in ran.document["problems"][0]


def test_info_of_an_index_and_of_a_model(photos: Path, hivlp: Hivlp) -> None:
    document = hivlp("info", photos, "--json").document
    assert (document["kind"], document["items"], document["model"]["name"]) == ("index", 12, "mini")
    document = hivlp("info", "mini", "--json").document
    assert (document["kind"], document["name"], document["widths"]) == ("model", "mini", [8, 16, 32])
    assert "fingerprint" in hivlp("info", "mini").out
    shown = " ".join(hivlp("info", photos).out.split())
    for words in (
        "items 12",
        "kinds image: 12",
        "widths 8, 16, 32",
        "model name: mini fingerprint: colours-1",
    ):
        assert words in shown
    assert "tuned no; see hivlp tune" in shown and "coarse bytes" not in shown
    assert "None" not in shown and "rotation" not in shown
    assert not set("{}[]'") & set(shown), "no Python"


def test_eval_prints_the_protocol(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures")
    ran = hivlp("eval", "--model", "mini", "--data", pictures, "--json")
    assert ran.code == 0
    assert ran.document["protocol"] == "12 images, 12 texts (1 a picture)"
    assert ran.document["text_to_image"]["R@1"] == 100.0
    assert ran.document["cascade"]["kept"] == 1.0
    shown = hivlp("eval", "--model", "mini", "--data", pictures)
    assert "level 32" in shown.out
    assert "keeps 100.00%" in shown.out


def test_eval_of_a_split(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    gallery(tmp_path)
    rows = [f"{name}.png\t{name}\t{'val' if n % 2 else 'train'}" for n, name in enumerate(COLOURS)]
    table = tmp_path / "captions.tsv"
    table.write_text("\n".join(["image\tcaption\tsplit", *rows]) + "\n", encoding="utf-8")
    document = hivlp("eval", "--model", "mini", "--data", table, "--split", "val", "--json").document
    assert document["protocol"] == "6 images, 6 texts (1 a picture), split val"


def test_demo_goes_the_whole_way(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    ran = hivlp("demo", "--out", tmp_path / "demo", "--json")
    assert ran.code == 0
    document = ran.document
    assert document["items"] == document["indexed"] == 240
    assert document["failed"] == document["notes"] == []
    assert len({search["query"] for search in document["searches"]}) == 8
    assert all(len(search["hits"]) == 6 for search in document["searches"])
    assert len(list((tmp_path / "demo" / "gallery").glob("*.jpg"))) == 240
    with Image.open(document["contact_sheet"]) as sheet:
        assert sheet.height > 2000
    shown = hivlp("demo", "--out", tmp_path / "demo")
    assert "hivlp index ~/Pictures" in shown.out
    assert "its picture at rank" not in shown.out, "nobody says which photograph is the right one"
    assert document["searches"][0]["hits"][0]["caption"][:20] in shown.out
    assert "240 were in the index already" in shown.err


def test_demo_keeps_what_the_archive_says(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    hivlp("demo", "--out", tmp_path / "demo")
    where = "caption like '%locomotive%' and library_of_congress = '2017878071'"
    found = hivlp("search", tmp_path / "demo/gallery.hivlp", "black", "--where", where, "--json").document
    (hit,) = found["hits"]
    assert hit["caption"].startswith("Locomotive in a railroad yard")
    assert Path(hit["uri"]).is_file()


def test_demo_over_scenes(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    ran = hivlp("demo", "--scenes", "--out", tmp_path / "demo", "--count", "10", "--json")
    assert ran.code == 0
    document = ran.document
    assert {"index", "items", "searches", "contact_sheet"} <= set(document)
    assert document["items"] == 10
    assert len(document["searches"]) == 8
    assert len({search["query"] for search in document["searches"]}) == 8
    assert all(Path(search["drawn_as"]).is_file() for search in document["searches"])
    assert len(list((tmp_path / "demo" / "scenes").glob("*.jpg"))) == 10
    captions = next((tmp_path / "demo" / "scenes").glob("*.txt")).read_text(encoding="utf-8")
    assert captions.strip()
    with Image.open(document["contact_sheet"]) as sheet:
        assert sheet.height > 2000
    shown = hivlp("demo", "--scenes", "--out", tmp_path / "demo", "--count", "10")
    assert "hivlp index ~/Pictures" in shown.out
    assert "its picture at rank" in shown.out
    assert "10 were in the index already" in shown.err
    assert "earlier demo" not in shown.err


def test_demo_tells_of_pictures_that_are_not_its_own(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    hivlp("demo", "--scenes", "--out", tmp_path, "--count", "12")
    fewer = hivlp("demo", "--scenes", "--out", tmp_path, "--count", "10")
    assert "also holds 2 pictures of an earlier demo" in fewer.err


def test_train_hands_over_the_recipe(tmp_path: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    seen: dict[str, Any] = {}

    def run(config: Any, *, out: Path, resume: bool, progress: Callable[[str], None]) -> Mapping[str, Any]:
        seen.update(config=config, out=out, resume=resume)
        progress("step 1")
        return {"model": str(out / "model"), "steps": 7, "seconds": 0.5, "eval": []}

    monkeypatch.setattr("hivlp.train.run.run", run)
    ran = hivlp(
        "train", "--preset", "tiny", "--set", "steps=7", "--out", tmp_path / "run", "--resume", "--json"
    )
    assert ran.code == 0
    assert (seen["config"].steps, seen["config"].preset, seen["resume"]) == (7, "tiny", True)
    assert {"model", "steps", "seconds", "eval"} <= set(ran.document)
    assert "step 1" in ran.err
    assert "7 steps" in hivlp("train", "--preset", "tiny", "--out", tmp_path / "run").out


def test_export_hands_over_the_model(tmp_path: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    seen: list[Any] = []

    def export(model: Any, *, int8: bool) -> dict[str, Any]:
        seen.append((str(model), int8))
        loss = {"int8": {"image_cosine": 0.995, "text_cosine": 0.9999}} if int8 else {}
        return {"files": ["a.onnx", "b.onnx"], "max_abs_diff": 2e-6, **loss}

    monkeypatch.setattr("hivlp.export.graphs.export", export)
    (tmp_path / "config.json").write_text("{}")
    ran = hivlp("export", tmp_path, "--int8", "--json")
    assert (ran.code, seen) == (0, [(str(tmp_path), True)])
    assert ran.document["max_abs_diff"] == 2e-6
    assert "2.00e-06" in hivlp("export", tmp_path).out
    wrote = hivlp("export", tmp_path, "--int8").out
    assert "mean cosine of 8 bits to float32: images 0.995, texts 0.9999" in wrote


def test_every_document_is_the_last_line_and_whole(photos: Path, hivlp: Hivlp) -> None:
    for arguments in (("search", photos, "雪 ❄️"), ("info", photos), ("verify", photos)):
        ran = hivlp(*arguments, "--json")
        assert json.loads(ran.out.splitlines()[-1]) == ran.document
        assert ran.out.endswith("}\n")


def test_a_lowest_score_keeps_the_better_hits(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    everything = hivlp("search", photos, "red", "-k", "12", "--json").document["hits"]
    lowest = everything[2]["score"]
    kept = hivlp("search", photos, "red", "-k", "12", "--min-score", lowest, "--json").document
    assert kept["hits"] == everything[:3], "the score itself is enough"
    assert kept["notes"] == []
    (tmp_path / "query.png").write_bytes(png("red"))
    by_picture = hivlp("search", photos, "--image", tmp_path / "query.png", "--min-score", "0.99", "--json")
    assert [hit["id"] for hit in by_picture.document["hits"]] == ["red.png"]


def test_eval_with_a_plan_as_text_and_as_a_file(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures")
    plan = {"name": "mine", "candidates": 3, "coarse_width": 16}
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    command = ("eval", "--model", "mini", "--data", pictures, "--json")
    by_text = hivlp(*command, "--plan", json.dumps(plan)).document["cascade"]
    by_file = hivlp(*command, "--plan", tmp_path / "plan.json").document["cascade"]
    assert by_text == by_file
    assert by_text["plan"] == {**plan, "coarse": "exact", "rerank": 0}
    assert hivlp(*command).document["cascade"]["candidates"] == 200
    assert hivlp(*command, "--candidates", "5").document["cascade"]["candidates"] == 5


@pytest.mark.parametrize("command", ["index", "eval"])
def test_notes_of_a_source_are_told(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp, command: str
) -> None:
    pictures = gallery(tmp_path / "pictures")
    arguments = {
        "index": ["index", pictures, "--out", tmp_path / "x.hivlp"],
        "eval": ["eval", "--model", "mini", "--data", pictures],
    }[command]
    ran = hivlp(*arguments, "--split", "val", "--json")
    (note,) = ran.document["notes"]
    assert "has no splits" in note
    assert ran.err.count(note) == 1
    assert hivlp(*arguments, "--json").document["notes"] == []


def test_search_keeps_to_a_filter_and_says_what_it_leaves(photos: Path, hivlp: Hivlp) -> None:
    where = "caption like '%red' or caption in ('something blue')"
    ran = hivlp("search", photos, "green", "--where", where, "--json")
    assert {hit["id"] for hit in ran.document["hits"]} == {"red.png", "blue.png"}
    assert ran.document["notes"] == ["only 2 items passed the filter"]
    assert "only 2 items passed the filter" in ran.err
    picture = hivlp(
        "search", photos, "--image", photos.parent / "pictures/red.png", "--where", where, "--json"
    )
    assert picture.document["hits"][0]["id"] == "red.png"
    assert hivlp("search", photos, "green", "--kind", "text", "--json").document["hits"] == []
    assert (
        len(hivlp("search", photos, "green", "--kind", "image", "-k", "12", "--json").document["hits"]) == 12
    )


def test_tune_measures_and_searches_keep_to_it(captioned: Path, hivlp: Hivlp) -> None:
    ran = hivlp("tune", captioned, "--recall", "0.9", "-k", "3", "--coarse", "exact", "--json")
    assert ran.code == 0
    document = ran.document
    assert set(document["pareto"][0]) == {
        "plan",
        "recall",
        "recall_low",
        "p50_ms",
        "p99_ms",
        "hot_bytes_per_item",
    }
    assert set(document["pareto"][0]) < set(document)
    assert (document["index"], document["k"], document["target"]) == (str(captioned), 3, 0.9)
    assert (document["queries"], document["query_count"], document["items"]) == ("captions", 110, 110)
    assert document["recall"] >= document["recall_low"] >= 0.9
    assert document["plan"] in [one["plan"] for one in document["pareto"]]
    assert json.loads((captioned / "plan.json").read_text())["plan"] == document["plan"]
    assert "plan.json" in hivlp("info", captioned, "--json").document["bytes"]
    assert hivlp("search", captioned, "red", "--recall", "0.9", "--json").code == 0


def test_tune_shows_its_plans_and_what_they_were_measured_with(captioned: Path, hivlp: Hivlp) -> None:
    queries = captioned.parent / "queries.txt"
    queries.write_text("\n".join(f"{one} {two}" for one in COLOURS for two in COLOURS), encoding="utf-8")
    ran = hivlp("tune", captioned, "--recall", "0.9", "-k", "3", "--queries", queries, "--coarse", "exact")
    assert ran.code == 0
    for words in ("recall@3", "at least", "p50 ms", "p99 ms", "bytes per item", "exact"):
        assert words in ran.out
    assert "with 95 % confidence, measured with 144 queries on 110 items" in ran.out
    assert "chosen: " in ran.out


def test_tune_says_why_it_learned_no_probabilities(captioned: Path, hivlp: Hivlp) -> None:
    tune = ("tune", captioned, "-k", "3", "--coarse", "exact", "--json")
    (size,) = hivlp(*tune).document["notes"]
    assert size.startswith("up to 2,000 items a search scores all of them")
    queries = captioned.parent / "queries.txt"
    queries.write_text("\n".join(f"{one} {two}" for one in COLOURS for two in COLOURS), encoding="utf-8")
    ran = hivlp(*tune, "--queries", queries)
    note, _ = ran.document["notes"]
    assert (ran.document["match"], note in ran.err) == (None, True)
    assert "--min-probability) were not calibrated" in note
    assert "leave out --queries" in note


def test_tune_without_captions_says_so_in_plain_words(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = gallery(tmp_path / "pairs", *(f"{a}-{b}" for a in COLOURS for b in COLOURS if a != b))
    for caption in pictures.glob("*.txt"):
        caption.unlink()
    hivlp("index", pictures, "--out", tmp_path / "pairs.hivlp")
    ran = hivlp("tune", tmp_path / "pairs.hivlp", "-k", "3", "--coarse", "exact")
    assert "fewer than 50 pictures of the index have a caption" in ran.err
    assert "measured with 132 points between items on 132 items" in ran.out


def test_a_probability_can_be_asked_for(captioned: Path, hivlp: Hivlp) -> None:
    assert (
        hivlp("tune", captioned, "-k", "3", "--coarse", "exact", "--json").document["match"]["queries"] == 110
    )
    ran = hivlp("search", captioned, "red blue", "--min-probability", "0.5", "--no-group", "--json")
    assert {hit["id"] for hit in ran.document["hits"]} >= {"red-blue.png", "blue-red.png"}
    assert all(0.5 <= hit["probability"] <= 1 for hit in ran.document["hits"])
    ran = hivlp("search", captioned, "cyan", "--min-probability", "0.5", "--json")
    assert (ran.code, ran.document["hits"]) == (0, [])
    assert "nothing found: no image matches with a probability of at least 0.5" in ran.err
