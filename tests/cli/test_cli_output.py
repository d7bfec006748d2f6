"""Output that can't fail: consoles of any encoding, names that are no text, closed pipes, long names."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder, painted
from hivlp.cli import output, results
from hivlp.types import Hit, Hits, Timings
from ran import Ran

Hivlp = Callable[..., Ran]


def hit(name: str, *, rank: int = 1, **facts: object) -> Hit:
    return Hit(rank=rank, id=name, score=0.5, coarse_score=0.5, coarse_rank=1, **{"uri": name, **facts})  # type: ignore[arg-type]


def drawn(*found: Hit, width: int = 80) -> list[str]:
    """The lines of a table of hits on a console of some width."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    results.show_hits(console, Hits(hits=found, timings_ms=Timings(fine=1.0), plan={}))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.fixture
def strange(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> Path:
    """An index of pictures whose names few consoles can show."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("emoji 🐟 é.png", "日本旅行.png", "red…“ü”.png"):
        painted("red").save(folder / name)
    assert hivlp("index", folder, "--out", tmp_path / "x.hivlp").code == 0
    return tmp_path / "x.hivlp"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8", "utf-16"])
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_every_console_takes_every_name(
    strange: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, arguments: tuple[str, ...]
) -> None:
    from hivlp.cli.main import main

    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    assert main(["search", str(strange), "a dog without “water”", "--no-group", *arguments]) == 0
    told = {name: stream.buffer.getvalue().decode(encoding) for name, stream in streams.items()}  # type: ignore[attr-defined]
    assert "does not understand 'without'" in told["stderr"]
    if not arguments:
        assert told["stdout"].count(".png") == 3
        return
    hits = json.loads(told["stdout"])["hits"]
    assert {hit["id"] for hit in hits} == {path.name for path in (strange.parent / "pictures").iterdir()}


def test_bytes_that_are_no_text_survive_json(capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"latin-\xe9 \xf0\x9f\x90\x9f.png")
    output.print_json({"uri": name})
    assert json.loads(capsys.readouterr().out) == {"uri": name}


def test_marks_of_messages_become_plain_ones_and_letters_escapes() -> None:
    output.guarded(lambda: None, json=False, debug=False)
    assert "“a” – b… 🐟é\udce9".encode("ascii", "hivlp-escaped") == rb'"a" - b... \U0001f41f\xe9\udce9'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("日本 é 🐟", "日本 é 🐟"),
        ("two\nlines\t\r", r"two\nlines\t\r"),
        ("\x1b[31mred\x1b[0m\x07", r"\x1b[31mred\x1b[0m\x07"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("bad\udce9byte", r"bad\udce9byte"),
    ],
)
def test_names_keep_to_their_line(text: str, shown: str) -> None:
    assert output.printable(text) == shown


def test_a_table_fits_the_console_and_names_each_hit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "Pictures" / "unsorted" / "IMG-20180216-WA0659.jpg"
    lines = drawn(
        hit(
            "unsorted/IMG-20180216-WA0659.jpg",
            uri=str(inside),
            caption="two dogs run over a wet field of grass",
        ),
        hit("b.jpg", rank=2, uri=str(tmp_path / "Pictures" / "b.jpg"), caption="a cat"),
    )
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["rank", "score", "caption", "path"]
    assert lines[1].endswith("  Pictures/unsorted/IMG-20180216-WA0659.jpg")
    assert lines[2].endswith("  Pictures/b.jpg") and "a cat" in lines[2]
    assert "two dogs run" in lines[1] and "…" in lines[1]


def test_a_very_long_path_stays_whole_on_its_line() -> None:
    name = "folder/" * 60 + "x.jpg"
    lines = drawn(hit(name, caption="a dog"), hit("short.jpg", rank=2, caption="a cat"))
    assert lines[1].endswith(name) and lines[2].endswith("short.jpg")
    assert len(lines) == 4
    assert lines[0].split() == ["rank", "score", "id"]  # no room is left for captions


@pytest.mark.parametrize(
    ("uri", "name"),
    [("/elsewhere/a.jpg", "/elsewhere/a.jpg"), ("https://x.org/a.jpg", "a"), ("photos.tar#a.jpg", "a")],
)
def test_what_lies_elsewhere_is_named_by_its_whole_path_or_id(uri: str, name: str) -> None:
    assert results.name_of(hit("a", uri=uri)) == name


def test_the_match_is_said_of_the_best_hit_only() -> None:
    lines = drawn(hit("a", probability=0.81), hit("b", rank=2, probability=0.79))
    assert [line for line in lines if "%" in line] == [
        "match 81%: the estimated chance that the index has a picture of this"
    ]
    assert not [line for line in drawn(hit("b", rank=11, probability=0.79)) if "%" in line]


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    command = f"{sys.executable} -m hivlp info mini --json"
    redirect = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirect}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_of_messages_that_closes_does_not_stop_the_answer() -> None:
    # the reader of stderr goes at once, and the message about an unknown option has nowhere to go
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m hivlp info nosuch --json 2> >(exec true)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "does not exist" in json.loads(done.stdout)["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("arguments", ["info mini --json", "info mini", "--help"])
def test_a_full_disk_behind_the_output_is_said(arguments: str) -> None:
    command = f"{sys.executable} -m hivlp {arguments} > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
