"""Bad input at the command line: exit code 2, a message with value, rule and remedy, and nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder, gallery, png
from hivlp.cli import output
from hivlp.data.sources import open_source
from hivlp.errors import QueryError
from ran import Ran

Hivlp = Callable[..., Ran]


def refused(ran: Ran, *expected: str, code: int = 2) -> None:
    """The exit code, the words on stderr in one message, the same message as JSON, and no traceback."""
    assert ran.code == code
    assert ran.err.startswith("hivlp: ")
    for words in expected:
        assert words in ran.err
    assert "Traceback" not in ran.err
    assert list(ran.document) == ["error"]
    assert ran.document["error"] in ran.err.replace("hivlp: ", "", 1)


@pytest.mark.parametrize("k", ["0", "-3"])
def test_no_hits_wanted(photos: Path, hivlp: Hivlp, k: str) -> None:
    refused(hivlp("search", photos, "red", "-k", k, "--json"), f"k={k}", "at least 1")


def test_k_that_is_no_number(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "red", "-k", "many", "--json")
    refused(ran, "'-k' / '--k'", "'many'", "whole number", "hivlp search --help")
    ran = hivlp("search", photos, "red", "--min-score", "high", "--json")
    refused(ran, "'--min-score'", "'high'", "number", "hivlp search --help")
    for words in ("parse", "valid integer", "valid number", "Input"):
        assert words not in ran.document["error"]


def test_a_number_below_the_least_that_can_be(photos: Path, hivlp: Hivlp) -> None:
    # The value is said by older versions of the command-line package only.
    ran = hivlp("bench", "search", "--items", "10", "--json")
    refused(ran, "'--items'", "1000", "hivlp bench search --help")
    assert "Input" not in ran.err


def test_k_beyond_the_size_gives_everything(photos: Path, hivlp: Hivlp) -> None:
    assert len(hivlp("search", photos, "red", "-k", "1000", "--json").document["hits"]) == 12


@pytest.mark.parametrize("text", ["", "  ", "\t", "\u200b", '"', "?!", "-", "--"])
def test_an_empty_query(photos: Path, hivlp: Hivlp, text: str) -> None:
    refused(hivlp("search", photos, "--json", "--", text), "has no word", "give some")


@pytest.mark.parametrize("text", ["x" * 10_000, "word " * 2_000, "雪地里的一只狗", "🐕❄️", "#1", "5 > 3"])
def test_strange_queries_are_answered(photos: Path, hivlp: Hivlp, text: str) -> None:
    ran = hivlp("search", photos, "--json", "--", text)
    assert ran.code == 0
    assert len(ran.document["hits"]) == 10


def test_a_long_query_is_said_to_be_cut(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "word " * 2_000, "--json")
    assert "its end was cut" in ran.err
    assert "its end was cut" in ran.document["notes"][0]


def test_neither_words_nor_picture(photos: Path, hivlp: Hivlp) -> None:
    refused(hivlp("search", photos, "--json"), "give words, --image FILE or --item ID to search with")
    refused(hivlp("search", photos, "red", "--image", "x.png", "--json"), "x.png is not a file")


def test_candidates_out_of_range(photos: Path, hivlp: Hivlp) -> None:
    refused(hivlp("search", photos, "red", "--candidates", "0", "--json"), "candidates=0", "at least 1")
    refused(
        hivlp("search", photos, "red", "--candidates", "5", "--exact", "--json"),
        "candidates and exact exclude each other: give one of them",
    )


def test_a_query_picture_that_is_none(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    refused(hivlp("search", photos, "--image", tmp_path / "gone.png", "--json"), "gone.png", "is not a file")
    (tmp_path / "words.jpg").write_text("words")
    refused(hivlp("search", photos, "--image", tmp_path / "words.jpg", "--json"), "it is a text file")


def test_a_sheet_that_can_not_be_written(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    refused(hivlp("search", photos, "red", "--sheet", tmp_path / "a.txt", "--json"), ".png")
    refused(hivlp("search", photos, "red", "--sheet", tmp_path / "no" / "a.png", "--json"), "folder exists")


def test_an_index_that_is_none(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    refused(hivlp("search", tmp_path / "gone.hivlp", "red", "--json"), "gone.hivlp", "hivlp index")
    pictures = gallery(tmp_path / "pictures")
    for command in (["search", pictures, "red"], ["verify", pictures], ["delete", pictures, "x"]):
        refused(hivlp(*command, "--json"), str(pictures))
    refused(hivlp("search", pictures / "red.png", "red", "--json"), "red.png")
    refused(hivlp("index", pictures, "--out", pictures, "--json"), str(pictures))
    assert len(list(pictures.iterdir())) == 24, "nothing was written into somebody's folder"


def test_an_index_of_another_model(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    refused(hivlp("search", photos, "red", "--model", "other", "--json"), "'mini'", "'other'")
    refused(hivlp("index", tmp_path / "pictures", "--out", photos, "--model", "other", "--json"), "'other'")
    assert hivlp("info", photos, "--json").document["items"] == 12


@pytest.mark.parametrize("command", ["index", "eval", "demo"])
def test_an_unknown_model(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp, command: str) -> None:
    pictures = gallery(tmp_path / "pictures")
    arguments = {
        "index": ["index", pictures, "--out", tmp_path / "x.hivlp", "--model", "nope"],
        "eval": ["eval", "--data", pictures, "--model", "nope"],
        "demo": ["demo", "--out", tmp_path / "demo", "--model", "nope"],
    }[command]
    refused(hivlp(*arguments, "--json"), "unknown model 'nope'", "choose from")
    assert not (tmp_path / "x.hivlp").exists()


def test_a_count_of_photographs(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    refused(hivlp("demo", "--out", tmp_path / "demo", "--count", "50", "--json"), "--count 50", "--scenes")
    assert not (tmp_path / "demo").exists()


def test_a_missing_folder_leaves_no_index(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    refused(hivlp("index", tmp_path / "gone", "--out", tmp_path / "x.hivlp", "--json"), "gone")
    assert not (tmp_path / "x.hivlp").exists()


def test_folders_without_pictures(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(hivlp("index", empty, "--out", tmp_path / "x.hivlp", "--json"), "empty folder")
    (empty / "notes.md").write_text("words")
    refused(hivlp("index", empty, "--out", tmp_path / "x.hivlp", "--json"), "no pictures")
    assert not (tmp_path / "x.hivlp").exists()


def test_a_table_without_the_columns(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    (tmp_path / "t.tsv").write_text("picture_of\ttext\nred.png\tred\n")
    refused(hivlp("eval", "--model", "mini", "--data", tmp_path / "t.tsv", "--json"), "image")


def test_eval_without_captions_and_with_an_unknown_split(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = gallery(tmp_path / "pictures", "red", "blue")
    for caption in pictures.glob("*.txt"):
        caption.unlink()
    refused(
        hivlp("eval", "--model", "mini", "--data", pictures, "--json"), "no picture with a caption", code=3
    )
    (tmp_path / "t.tsv").write_text("image\tcaption\tsplit\npictures/red.png\tred\ttrain\n")
    ran = hivlp("eval", "--model", "mini", "--data", tmp_path / "t.tsv", "--split", "tset", "--json")
    refused(ran, "tset", "train")


def test_only_bad_pictures_are_failures_and_no_error(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "words.jpg").write_text("words")
    (pictures / "empty.jpg").touch()
    (pictures / "broken.png").symlink_to(tmp_path / "gone.png")
    (pictures / "short.png").write_bytes(png("red")[:40])
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json")
    assert (ran.code, ran.document["indexed"], len(ran.document["failed"])) == (3, 0, 4)
    ran = hivlp("search", tmp_path / "x.hivlp", "red", "--json")
    assert (ran.code, ran.document["hits"]) == (0, [])


def test_train_with_a_wrong_setting(tmp_path: Path, hivlp: Hivlp) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "run"
    refused(hivlp("train", "--preset", "tiny", "--set", "stepz=3", "--out", out, "--json"), "stepz", "steps")
    refused(hivlp("train", "--preset", "tyni", "--out", out, "--json"), "tyni", "tiny")
    assert not out.exists()


def test_unknown_commands_and_options(hivlp: Hivlp) -> None:
    refused(hivlp("serach", "--json"), "serach", "hivlp --help")
    refused(hivlp("search", "--colour", "--json"), "--colour")
    refused(hivlp("search", "--json"), "index", "hivlp search --help")


def test_a_traceback_only_with_debug(photos: Path, hivlp: Hivlp) -> None:
    assert "Traceback" not in hivlp("search", photos, "").err
    assert "Traceback" in hivlp("search", photos, "", "--debug").err


def test_a_flag_after_two_dashes_is_a_word(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "--", "--debug")
    assert ran.code == 0
    assert "hits in" in ran.out


def test_errors_become_exit_codes_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    def raises(error: BaseException) -> int:
        def program() -> None:
            raise error

        return output.guarded(program, json=False, debug=False)

    assert raises(QueryError("k=0 can't be")) == 2
    assert capsys.readouterr().err == "hivlp: k=0 can't be\n"
    assert raises(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert raises(PermissionError(13, "Permission denied", "/root/x")) == 2
    assert capsys.readouterr().err == "hivlp: /root/x: Permission denied; check its permissions\n"
    assert raises(FileNotFoundError(2, "No such file or directory", "x")) == 2
    assert capsys.readouterr().err == "hivlp: x: No such file or directory; check the path\n"
    assert raises(OSError(28, "No space left on device")) == 2
    assert "free space" in capsys.readouterr().err
    assert raises(RuntimeError("oops")) == 1
    assert "a bug in hivlp: RuntimeError: oops" in capsys.readouterr().err
    assert output.guarded(lambda: None, json=False, debug=False) == 0


def test_a_number_that_json_has_no_word_for_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        output.print_json({"score": float("nan")})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["info", "mini"], ["info", "mini", "--json"], ["info", "?", "--json"]],
)
def test_the_reader_of_a_pipe_may_go(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "hivlp", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    error = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(30) == 0
    assert error == "" or (error.startswith("hivlp: '?' does not exist") and error.count("\n") == 1)


def test_an_interruption_within_a_command_is_told_in_one_line(
    photos: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hivlp.retriever.Index.search", interrupted)
    ran = hivlp("search", photos, "red")
    assert (ran.code, ran.err) == (130, "hivlp: stopped; finished work is kept\n")


def test_an_interruption_before_the_command_begins_shows_no_traceback() -> None:
    program = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting)\n"
        "from hivlp.__main__ import run\n"
        "run()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "hivlp: stopped\n")


@pytest.mark.parametrize("command", ["info", "export"])
def test_a_training_pack_is_called_one(tmp_path: Path, hivlp: Hivlp, command: str) -> None:
    from hivlp.train.batches.pack import pack

    packed = pack(open_source(gallery(tmp_path / "pictures")), tmp_path / "packs", size=16, key="gallery")
    refused(hivlp(command, packed.folder, "--json"), "is a training pack", "neither an index nor a model")


def test_an_index_without_its_items_is_called_damaged(photos: Path, hivlp: Hivlp) -> None:
    (photos / "items.db").unlink()
    for command in ("info", "export"):
        refused(hivlp(command, photos, "--json"), "items.db")


def test_info_of_what_is_neither_an_index_nor_a_model(tmp_path: Path, hivlp: Hivlp) -> None:
    refused(
        hivlp("info", tmp_path / "x", "--json"),
        "does not exist",
        "neither as an index nor as a model",
        "mini",
    )
    refused(hivlp("info", tmp_path, "--json"), "it has no manifest.json", "hivlp index", "hf:owner/name")


def test_json_errors_hold_any_letter(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos.parent / "夏.hivlp", "red", "--json")
    assert "夏.hivlp" in json.loads(ran.out)["error"]


@pytest.mark.parametrize("score", ["1.5", "-1.01", "nan", "inf"])
def test_a_lowest_score_that_no_cosine_has(photos: Path, hivlp: Hivlp, score: str) -> None:
    ran = hivlp("search", photos, "red", "--min-score", score, "--json")
    refused(ran, f"min_score={float(score)} is invalid", "between -1 and 1")


def test_nothing_scored_enough(photos: Path, hivlp: Hivlp) -> None:
    best = hivlp("search", photos, "red blue", "--json").document["hits"][0]["score"]
    assert best < 0.99
    ran = hivlp("search", photos, "red blue", "--min-score", "0.99", "--json")
    assert (ran.code, ran.document["hits"]) == (0, [])
    (note,) = ran.document["notes"]
    assert note.startswith("nothing scored at least 0.99; the best score was 0.")
    assert best - 0.001 <= float(note.rsplit(" ", 1)[1]) <= best
    assert note in ran.err


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ('{"candidates": 0}', ["candidates=0", "at least 1"]),
        ('{"candidatez": 5}', ["candidatez", "did you mean 'candidates'"]),
        ('{"coarse": "exakt"}', ["'exakt'", "'exact'"]),
        ('{"coarse": []}', ["coarse=[]"]),
        ('{"coarse_width": 9}', ["coarse_width=9", "8, 16, 32"]),
        ('{"rerank": 5}', ["re-ranks 5"]),
        ('{"candidates": ', ["not JSON"]),
        ("no/such/plan.json", ["neither a JSON object nor a file", "no/such/plan.json"]),
    ],
)
def test_a_plan_that_is_none(
    photos: Path, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp, plan: str, expected: list[str]
) -> None:
    arguments = ("eval", "--model", "mini", "--data", tmp_path / "pictures", "--plan", plan, "--json")
    seen = colours.pictures_seen
    refused(hivlp(*arguments), *expected)
    assert colours.pictures_seen == seen, "it is refused before anything is encoded"


def test_a_plan_file_that_holds_something_else(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures")
    (tmp_path / "plan.json").write_text("[1, 2]")
    (tmp_path / "plan.bin").write_bytes(b"\xff\xfe\x00")
    command = ("eval", "--model", "mini", "--data", pictures, "--json")
    refused(hivlp(*command, "--plan", tmp_path / "plan.json"), "plan.json", "not a JSON object")
    refused(hivlp(*command, "--plan", tmp_path / "plan.bin"), "plan.bin", "not JSON")
    refused(hivlp(*command, "--plan", tmp_path), "neither a JSON object nor a file")
    refused(hivlp(*command, "--plan", "{}", "--candidates", "3"), "exclude each other")
    refused(hivlp(*command, "--candidates", "0"), "candidates=0", "at least 1")


def test_training_data_for_a_preset_that_takes_none(tmp_path: Path, hivlp: Hivlp) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "run"
    ran = hivlp("train", "--preset", "tiny", "--data", "my/pictures", "--out", out, "--json")
    refused(ran, "'tiny' draws its own scenes", "--data my/pictures", "--preset small")
    ran = hivlp("train", "--preset", "small", "--out", out, "--json")
    refused(ran, "'small' needs images", "--data SOURCE")
    own = ("--set", 'sources=[{"spec": "other/place"}]', "--set", "validation=[]")
    ran = hivlp("train", "--preset", "small", "--data", "my/pictures", *own, "--out", out, "--json")
    refused(ran, "names its own (other/place)", "--data my/pictures")
    assert not out.exists()


@pytest.mark.parametrize("command", [["train", "--out", "r"], ["export", "mini", "--out", "g"]])
def test_a_missing_extra_is_named_with_its_cure(command: list[str]) -> None:
    code = (
        f"import sys; sys.modules['torch'] = None; from hivlp.cli.main import main; sys.exit(main({command}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 2
    assert "needs the package 'torch'" in ran.stderr or "needs the package 'onnx'" in ran.stderr
    assert "[train]" in ran.stderr


def test_a_shipped_model_is_exported_elsewhere(hivlp: Hivlp) -> None:
    refused(hivlp("export", "mini", "--json"), "mini is part of the package", "--out DIR")


def test_a_wrong_path_is_refused_before_any_extra_is_asked_for(tmp_path: Path) -> None:
    for name, words in (("nope", "unknown model"), (str(tmp_path), "is not a model folder")):
        code = (
            "import sys; sys.modules['onnx'] = sys.modules['torch'] = None; "
            f"from hivlp.cli.main import main; sys.exit(main(['export', {name!r}]))"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (ran.returncode, words in ran.stderr, "install" in ran.stderr) == (2, True, False), ran.stderr


def test_sources_that_are_none_are_told_what_they_are(
    photos: Path, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    out = ("--out", tmp_path / "x.hivlp", "--json")
    (tmp_path / "notes.txt").write_text("red\nblue\n")
    refused(hivlp("index", tmp_path / "notes.txt", *out), "a file of texts", "hivlp index --texts")
    picture = tmp_path / "pictures" / "red.png"
    refused(hivlp("index", picture, *out), "a single picture; name its folder", str(picture.parent))
    (tmp_path / "texts.csv").write_text("id,text\na,red\n")
    refused(hivlp("index", tmp_path / "texts.csv", *out), "no column 'image'", "hivlp index --texts")
    (tmp_path / "words.docx").write_text("red")
    refused(hivlp("index", tmp_path / "words.docx", *out), "no known kind of source", "a folder of pictures")
    assert not (tmp_path / "x.hivlp").exists()


def test_a_folder_that_is_no_index_and_arguments_in_the_wrong_order(photos: Path, hivlp: Hivlp) -> None:
    pictures = photos.parent / "pictures"
    refused(hivlp("index", pictures, "--out", pictures, "--json"), "a name that is free", "photos.hivlp")
    ran = hivlp("index", photos, "--out", pictures, "--json")
    refused(ran, f"{photos} is an index", f"hivlp index {pictures} --out {photos}")
    ran = hivlp("search", "a dog", photos, "--json")
    refused(ran, f"{photos} is an index", f"hivlp search {photos} 'a dog'")
    assert hivlp("search", photos, photos, "--json").code == 0, "a path is a query like any other"


def test_filters_that_are_none(photos: Path, hivlp: Hivlp) -> None:
    refused(
        hivlp("search", photos, "red", "--where", "caption = red", "--json"), "'red'", "caption = red\n", "^"
    )
    refused(hivlp("search", photos, "red", "--where", "captoin = 'red'", "--json"), "Did you mean caption?")
    refused(hivlp("search", photos, "red", "--kind", "video", "--json"), "'video'", "image or text")


def test_tuning_that_can_not_be(photos: Path, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    colours.texts_seen.clear()
    refused(hivlp("tune", photos, "--recall", "1.5", "--json"), "recall=1.5", "above 0 and at most 1")
    refused(hivlp("tune", photos, "-k", "0", "--json"), "k=0", "at least 1")
    refused(hivlp("tune", photos, "--coarse", "tree", "--json"), "'tree'", "exact, pq, bits, ivf, hnsw")
    refused(hivlp("tune", photos, "--count", "0", "--json"), "count")
    refused(hivlp("tune", photos, "--json"), "12 queries are too few", "at least 50")
    refused(hivlp("tune", tmp_path / "gone.hivlp", "--json"), "gone.hivlp", "hivlp index")
    refused(hivlp("tune", photos, "--queries", tmp_path / "gone.txt", "--json"), "gone.txt: No such file")
    refused(hivlp("tune", photos, "--queries", tmp_path, "--json"), "name a file")
    (tmp_path / "queries.txt").write_bytes(b"caf\xe9")
    refused(
        hivlp("tune", photos, "--queries", tmp_path / "queries.txt", "--json"), "UTF-8", "one query per line"
    )
    (tmp_path / "queries.txt").write_text("red\n" * 49)
    refused(hivlp("tune", photos, "--queries", tmp_path / "queries.txt", "--json"), "49 queries are too few")
    assert colours.texts_seen == [], "all is refused before anything is encoded"
    assert not (photos / "plan.json").exists()


def test_a_recall_that_nobody_measured(photos: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(hivlp("search", photos, "red", "--recall", "0", "--json"), "recall=0.0", "above 0 and at most 1")
    refused(
        hivlp("search", photos, "red", "--recall", "0.9", "--exact", "--json"), "exact and recall exclude"
    )
    assert hivlp("search", photos, "red", "--recall", "0.9", "--json").document["plan"]["candidates"] == "all"
    monkeypatch.setattr("hivlp.search.choice.ALL_UP_TO", 5)
    refused(hivlp("search", photos, "red", "--recall", "0.9", "--json"), f"hivlp tune {photos}", "--exact")


def test_a_probability_that_nobody_knows(photos: Path, hivlp: Hivlp) -> None:
    least = ("--min-probability", "2", "--json")
    refused(hivlp("search", photos, "red", *least), "min_probability=2.0 is invalid", "between 0 and 1")
    least = ("--min-probability", "0.5", "--json")
    refused(hivlp("search", photos, "red", *least), "hivlp tune", "--min-score")


def test_a_probability_of_what_is_no_words(photos: Path, hivlp: Hivlp) -> None:
    least = ("--min-probability", "0.5", "--json")
    for query in (("--image", photos.parent / "pictures/red.png"), ("--item", "red.png")):
        ran = hivlp("search", photos, *query, *least)
        refused(ran, "only for searches by words", "--min-score")
        assert "tune" not in ran.err


@pytest.mark.parametrize("words", ["-40 degrees in the snow", "-a dog", "--in the snow", "-3"])
def test_words_that_begin_with_a_dash_are_told_where_to_go(photos: Path, hivlp: Hivlp, words: str) -> None:
    refused(hivlp("search", photos, words, "--json"), "one that begins with a dash goes behind --")
    assert hivlp("search", photos, "--json", "--", words).code == 0
    assert "dash" not in hivlp("search", photos, "red", "--no-such-option", "--json").err


def test_words_without_quotes_are_told_to_be_quoted(photos: Path, hivlp: Hivlp) -> None:
    refused(hivlp("search", photos, "a", "dog", "--json"), "put a query of several words in quotes")


def test_an_origin_that_is_none(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("serve", photos, "--cors-origin", "shop")
    assert (ran.code, "must be an origin such as https://shop.example" in ran.err) == (2, True)
