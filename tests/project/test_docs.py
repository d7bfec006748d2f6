"""The documentation says what the code does: generated parts, links, code blocks and command lines."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer
from PIL import Image

import hivlp
from fakes import ColourEncoder
from hivlp import scenes
from hivlp.encode.base import shipped_models
from hivlp.retriever import Index
from hivlp.train.card import recall_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
REMEDY = "run `python docs/generate.py` and commit what it writes"
# Loaded here, so that no test leaves a patched one in the package's memory.
REAL_LOAD = hivlp.load


class Block(NamedTuple):
    """One fenced block of a page: the words behind the fence, and what is inside."""

    language: str
    words: tuple[str, ...]
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for match in re.finditer(r"^```([^\n]+)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        language, *words = match[1].split()
        yield Block(language, tuple(words), match[2])


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    """The script ``docs/generate.py`` as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_generate"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["docs_generate"]


GENERATED = [
    "train.md",
    "models.md",
    "cli.md",
    "benchmarks.md",
    "serve.md",
    "results.md",
    "architecture.md",
    "../README.md",
    "../CONTRIBUTING.md",
]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_parts_are_what_the_code_gives_now(generate: ModuleType, name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    assert text == generate.generated(name, text), f"docs/{name} is out of date: {REMEDY}"


def test_every_generated_page_is_tested(generate: ModuleType) -> None:
    assert set(generate.PARTS) == set(GENERATED)


def test_the_picture_of_the_layers_has_every_layer_of_the_contracts(generate: ModuleType) -> None:
    picture = generate.layers()
    contracts = (ROOT / "pyproject.toml").read_text("utf-8").split("[tool.importlinter]")[1]
    names = [
        name for row in re.findall(r'^    "(.+)",$', contracts, re.MULTILINE) for name in row.split(" | ")
    ]
    shown = re.findall(r"[a-z][\w.]*", picture.removeprefix("```text"))
    assert sorted(shown) == sorted(name.removeprefix("hivlp.") for name in names if name != "hivlp")
    assert shown.index("cli") < shown.index("search") < shown.index("index") < shown.index("errors")
    assert len({len(line) for line in picture.splitlines()[1:-1]}) == 1, "the lines differ in length"


def test_the_map_of_the_folders_lists_every_package(generate: ModuleType) -> None:
    rows = re.findall(r"^\| `([\w/]+)/` \| (\d+) \| (.+) \|$", generate.rooms(), re.MULTILINE)
    packages = {path.parent for path in (ROOT / "src/hivlp").glob("*/**/__init__.py")}
    mapped = {ROOT / "src/hivlp" / name: (int(count), words) for name, count, words in rows}
    assert packages <= set(mapped)
    assert all(words.strip() for _, words in mapped.values())
    coarse = ROOT / "src/hivlp/index/coarse"
    assert mapped[coarse][0] == len(list(coarse.glob("*.py"))) - 1
    assert "hivlp_lab/bench" in {name for name, _, _ in rows}


def test_the_torch_list_has_every_module_that_imports_torch(generate: ModuleType) -> None:
    listed = re.findall(r"`([\w/.]+)`", generate.torch_users())
    for path in (ROOT / "src/hivlp").rglob("*.py"):
        name = path.relative_to(ROOT / "src/hivlp").as_posix()
        if re.search(r"^(?:import|from) torch\b", path.read_text("utf-8"), re.MULTILINE):
            assert any(name == one or (one.endswith("/") and name.startswith(one)) for one in listed), name
    assert "search/" not in listed and "encode/onnx.py" not in listed


@pytest.mark.parametrize("page", ["architecture.md", "glossary.md"])
def test_the_paths_and_names_of_code_on_a_page_exist(page: str) -> None:
    places = re.findall(r"`([\w/]+(?:\.py|/))(?::(\w+))?`", (DOCS / page).read_text("utf-8"))
    assert len(places) >= 40
    for place, name in places:
        found = [
            ROOT / root / place for root in ("src/hivlp", "lab/src", ".") if (ROOT / root / place).exists()
        ]
        assert found, f"docs/{page} names {place}, which does not exist"
        if name:
            code = found[0].read_text("utf-8")
            assert re.search(rf"^(?:(?:class|def|async def) )?{name}\b", code, re.MULTILINE), (
                f"{place}:{name}"
            )


def test_the_messages_in_troubleshooting_are_in_the_code() -> None:
    rows = re.findall(r"^\| (`.+?) \| ", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    quoted = [part for row in rows for part in re.findall(r"`(.+?)`", row)]
    code = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "src/hivlp").rglob("*.py")]
    texts = {
        node.value
        for tree in code
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    texts |= {"hivlp: command not found", (ROOT / "Makefile").read_text("utf-8")}
    assert len(quoted) >= 30
    lost = [part for part in quoted if not any(part in text for text in texts)]
    assert not lost, f"docs/troubleshooting.md quotes messages that the code no longer has: {lost}"


def test_the_readme_is_short_and_says_what_was_counted() -> None:
    readme, models = (path.read_text("utf-8") for path in (ROOT / "README.md", DOCS / "models.md"))
    assert len(readme.splitlines()) <= 150
    rows = re.findall(r"^\| ([0-6]) \| (.+) \|$", models, re.MULTILINE)
    counts = [int(right) for right, searches in rows for _ in searches.split(";")]
    assert len(counts) == 30
    assert all(f"{sum(counts)} of 180 hits are right" in text for text in (readme, models))


def test_the_card_of_the_shipped_model_shows_the_measured_recalls() -> None:
    card = (ROOT / "src/hivlp/assets/mini/README.md").read_text("utf-8")
    (path,) = (ROOT / "benchmarks/results").glob("model-mini-*.json")
    results = json.loads(path.read_text("utf-8"))["results"]
    assert len(results) == 4
    for result in results:
        assert "\n".join(recall_table(result)) in card, result["name"]


def test_generator_replaces_what_is_stale_and_keeps_the_rest(generate: ModuleType) -> None:
    settings = "<!-- settings -->\nstale\n<!-- /settings -->"
    fresh = generate.generated(
        "train.md", f"before\n{settings}\nbetween\n<!-- presets -->\n<!-- /presets -->\nafter\n"
    )
    assert fresh.startswith("before\n<!-- settings -->\n| setting |")
    assert "\n<!-- /settings -->\nbetween\n<!-- presets -->\n| preset |" in fresh
    assert fresh.endswith("\n<!-- /presets -->\nafter\n")
    assert "\nstale\n" not in fresh
    assert "`model.max_tokens`" in fresh
    with pytest.raises(ValueError, match="must hold <!-- config -->"):
        generate.generated("models.md", "no markers")


def test_every_setting_and_option_says_what_it_is(generate: ModuleType) -> None:
    silent = [one.name for one in generate.settings(generate.TrainConfig) if not one.meaning]
    assert not silent, f"give these settings a description in hivlp.config: {silent}"
    for command, callback in generate.commands().items():
        mute = [one for one in generate.parameters(callback) if not one.help]
        assert not mute, f"give these options of `hivlp {command}` a help text: {mute}"


def test_generator_reads_signatures(generate: ModuleType) -> None:
    taken = {one.names or one.metavar: one for one in generate.parameters(generate.commands()["search"])}
    assert taken["INDEX"].required and not taken["TEXT"].required
    assert (taken["-k", "--k"].metavar, taken["-k", "--k"].default) == ("NUMBER", "10")
    assert "[required]" not in taken["--json",].help and taken["--json",].metavar == ""
    ids = generate.parameters(generate.commands()["delete"])[1]
    assert (ids.metavar, ids.repeatable, ids.required) == ("IDS", True, True)


def test_generator_and_program_know_the_same_options(generate: ModuleType, program: Any) -> None:
    for name, callback in generate.commands().items():
        documented = {option for one in generate.parameters(callback) for option in one.names}
        real = {
            "/".join((option, *one.secondary_opts))
            for one in command_of(program, name.split())[0].params
            if one.param_type_name == "option"
            for option in one.opts
        }
        assert documented == real - {"--help", "-h"}, f"docs/generate.py misreads hivlp {name}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{named(page)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{named(page)} links to {target}: no such heading"


def test_the_index_of_the_docs_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "README.md").read_text("utf-8")))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"README.md"}
    assert listed == pages, "docs/README.md must list every page of docs/, one line each"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder with pictures and an index of them; without a shipped ``mini`` a fake stands in for it."""
    if "mini" not in shipped_models():
        encoder: ColourEncoder = request.getfixturevalue("colours")
        monkeypatch.setattr("hivlp.load", lambda model="mini", **options: encoder)
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed, name in enumerate(("dog", "boat", "house")):
        scenes.render(scenes.describe(seed), size=64).save(photos / f"{name}.jpg")
        (photos / f"{name}.txt").write_text(f"a {name}\nthe same {name} again\n", encoding="utf-8")
    with Index.create("photos.hivlp", "mini") as index:
        assert index.add(photos).indexed == 3
    return tmp_path


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python" and "run" in block.words]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=named)
def test_python_blocks_run_and_print_what_they_say(
    page: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in blocks(page):
        for word in block.words:
            if word.startswith("file="):
                (workplace / word.removeprefix("file=")).write_text(block.text, encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "docs"}
    for number, block in enumerate(runnable(page), start=1):
        if any(
            lacks(package)
            for package in re.findall(r"^(?:import|# needs) (torch|pyarrow)$", block.text, re.MULTILINE)
        ):
            continue
        capsys.readouterr()
        exec(compile(block.text, f"{named(page)}, block {number}", "exec"), namespace)
        printed = capsys.readouterr().out.splitlines()
        for said in re.findall(r"# → (.+)$", block.text, re.MULTILINE):
            assert said in printed, f"{named(page)}, block {number}: it says {said!r} and prints {printed}"


def lacks(package: str) -> bool:
    return importlib.util.find_spec(package) is None


def test_no_python_block_is_left_unrun() -> None:
    unrun = [
        named(page) for page in DOCS.rglob("*.md") for block in blocks(page) if block.language == "python"
    ]
    assert len(unrun) == sum(len(runnable(page)) for page in DOCS.rglob("*.md"))
    assert len(unrun) >= 10


@pytest.fixture(scope="module")
def program() -> Any:
    from hivlp.cli.main import app

    return typer.main.get_command(app)


def command_of(program: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the rest: its arguments."""
    command, rest = program, list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return command, rest


def command_lines(page: Path) -> Iterator[list[str]]:
    """The `hivlp` calls of the bash blocks of a page, each as its arguments."""
    for block in blocks(page):
        if block.language != "bash":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "hivlp":
                yield words[1 : words.index("|") if "|" in words else None]


@pytest.mark.parametrize("page", [page for page in PAGES if any(command_lines(page))], ids=named)
def test_command_lines_parse(page: Path, program: Any) -> None:
    for line in command_lines(page):
        try:
            command, arguments = command_of(program, line)
            command.make_context(command.name, arguments)
        except Exception as error:
            pytest.fail(f"{named(page)} shows `hivlp {shlex.join(line)}`: {error!r}")


def test_overrides_shown_for_training_are_accepted() -> None:
    from hivlp.train.presets import load_preset

    lines = [line for line in command_lines(DOCS / "train.md") if line[0] == "train"]
    shown = [line for line in lines if "--preset" in line]  # a resumed run needs its folder alone
    assert len(shown) >= 5
    for line in shown:
        values: dict[str, list[str]] = {}
        for option, value in itertools.pairwise(line):
            values.setdefault(option, []).append(value)
        data = values.get("--data", [None])[0]
        config = load_preset(values["--preset"][0], overrides=values.get("--set", []), data=data)
        assert config.preset == values["--preset"][0]


def test_the_changelog_knows_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_sheet_of_scenes_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "scenes.png"
    monkeypatch.setattr(sys, "argv", ["scenes_sheet.py", str(target)])
    runpy.run_path(str(ROOT / "examples" / "scenes_sheet.py"), run_name="__main__")
    with Image.open(target) as drawn, Image.open(DOCS / "images" / "scenes.png") as shown:
        assert drawn.size == shown.size
        assert len(drawn.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 100
    assert (DOCS / "images" / "scenes.png").stat().st_size < 300_000
    assert str(target) in capsys.readouterr().out


def test_runs_with_tiny_models_are_no_results(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "speed-small-x.json").write_text('{"small": true}')
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.speed_tables() == "No result has been stored yet."
    (results / "speed-x.json").write_text('{"small": false}')
    monkeypatch.setattr(generate.report, "markdown", lambda document, place: f"a table of {place}")
    assert generate.speed_tables() == "a table of ../benchmarks/results/speed-x.json"
