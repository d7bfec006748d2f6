"""Writes the parts of the documentation that come from the code, the contracts and the result files.

python docs/generate.py          rewrites them
python docs/generate.py --check  only lists the pages that are out of date

A part stands between `<!-- NAME -->` and `<!-- /NAME -->`; everything else on a page is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hivlp.config import ModelConfig, TrainConfig
from hivlp.encode.base import fingerprint, model_folder
from hivlp.train.presets import PRESETS
from hivlp_lab.bench import pages as search_pages
from hivlp_lab.flickr8k import pages
from hivlp_lab.speed import report

DOCS = Path(__file__).parent
ROOT = DOCS.parent


@dataclass(frozen=True)
class Setting:
    """One leaf of a configuration, such as ``optimisation.learning_rate``."""

    name: str
    default: str
    limits: str
    meaning: str


def settings(kind: type[BaseModel], prefix: str = "", start: BaseModel | None = None) -> Iterator[Setting]:
    """Every setting of a configuration class; groups are entered, lists of groups shown as ``name[]``."""
    for name, field in kind.model_fields.items():
        path, group = f"{prefix}{name}", _group(field.annotation)
        default = getattr(start, name) if start is not None else field.get_default(call_default_factory=True)
        if group is None:
            yield Setting(path, _shown(default), _limits(field), field.description or "")
            continue
        listed = _is_list(field.annotation)
        if listed or default is None:
            yield Setting(path, _shown(default), "", field.description or _first_sentence(group))
        inner = default if isinstance(default, BaseModel) else None
        yield from settings(group, f"{path}[]." if listed else f"{path}.", inner)


def _group(annotation: Any) -> type[BaseModel] | None:
    """The configuration class behind an annotation: itself, an optional one, or the parts of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        found = [_group(part) for part in get_args(annotation)]
        return next((group for group in found if group is not None), None)
    return None


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _first_sentence(group: type[BaseModel]) -> str:
    return (group.__doc__ or "").split(".")[0].strip()


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "–"
    if isinstance(default, tuple):
        default = list(default)
    return f"`{default}`"


def _limits(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    signs = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
    found = [
        f"{sign} {getattr(rule, key)}"
        for rule in field.metadata
        for key, sign in signs
        if getattr(rule, key, None) is not None
    ]
    return ", ".join(found)


def settings_table(kind: type[BaseModel]) -> str:
    """A table of every setting of a configuration class."""
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for one in settings(kind):
        lines.append(
            f"| `{one.name}` | {one.default} | {one.limits} | {one.meaning.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines)


def presets_table() -> str:
    """A table of the presets and the settings that tell them apart."""
    lines = [
        "| preset | what for | picture | levels | steps | pictures a step |",
        "|---|---|---|---|---|---|",
    ]
    for name, make in PRESETS.items():
        values = make()
        if "model" in values:
            model = values["model"]
            side = f"{model['preprocessing']['size']}×{model['preprocessing']['size']}"
            widths = ", ".join(str(width) for width in model["levels"]["widths"])
        else:
            side = widths = f"of `--model` ({values['start']})"
        purpose = inspect.getdoc(make) or ""
        lines.append(
            f"| `{name}` | {' '.join(purpose.split())} | {side} | {widths} "
            f"| {values['steps']:,} | {values['batch_size']} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Parameter:
    """An argument (without names) or an option of a command."""

    names: tuple[str, ...]
    metavar: str
    required: bool
    repeatable: bool
    default: str
    help: str

    @property
    def is_option(self) -> bool:
        return bool(self.names)


def commands() -> dict[str, Callable[..., Any]]:
    """The commands of the program by name, in the order in which help lists them."""
    from hivlp.cli.main import app

    found = {str(command.name): command.callback for command in app.registered_commands}
    for group in app.registered_groups:
        inside = group.typer_instance.registered_commands if group.typer_instance else []
        found |= {f"{group.name} {command.name}": command.callback for command in inside}
    return {name: callback for name, callback in found.items() if callback}


def parameters(command: Callable[..., Any]) -> list[Parameter]:
    """What a command takes, read from its signature: the same for every version and width of a terminal."""
    found = [_parameter(one) for one in inspect.signature(command, eval_str=True).parameters.values()]
    return sorted(found, key=lambda one: one.is_option)


def _parameter(one: inspect.Parameter) -> Parameter:
    kind, declared = get_args(one.annotation)[:2]
    is_argument = type(declared).__name__ == "ArgumentInfo"
    # In an annotation typer keeps the first name where a default would stand.
    first = (declared.default,) if isinstance(declared.default, str) else ()
    names = (*first, *(declared.param_decls or ())) or (f"--{one.name.replace('_', '-')}",)
    parts = [part for part in get_args(kind) if part is not type(None)] or [kind]
    repeatable = get_origin(kind) is list or any(get_origin(part) is list for part in parts)
    required = one.default is inspect.Parameter.empty
    quiet = required or one.default is None or kind is bool
    return Parameter(
        names=() if is_argument else names,
        metavar=str(declared.metavar or _metavar(one.name, parts, is_argument=is_argument)).strip(),
        required=required,
        repeatable=repeatable,
        default="" if quiet else str(one.default),
        help=str(declared.help or "") + _range(declared),
    )


def _range(declared: Any) -> str:
    least, most = getattr(declared, "min", None), getattr(declared, "max", None)
    return "".join(
        f" {word} {limit}." for word, limit in (("At least", least), ("At most", most)) if limit is not None
    )


def _metavar(name: str, parts: list[Any], *, is_argument: bool) -> str:
    if is_argument:
        return name.upper()
    words = {bool: "", int: "NUMBER", float: "NUMBER", Path: "PATH"}
    return next((words[part] for part in parts if part in words), "TEXT")


def command_section(name: str, command: Callable[..., Any]) -> str:
    """A command with its arguments and options."""
    taken = parameters(command)
    usage = " ".join(["hivlp", name, *filter(None, map(_in_usage, taken)), "[OPTIONS]"])
    lines = [
        f"### hivlp {name}",
        "",
        inspect.getdoc(command) or "",
        "",
        f"    {usage}",
        "",
        "| | |",
        "|---|---|",
    ]
    for one in taken:
        left = ", ".join(f"`{name}`" for name in one.names) or "`" + one.metavar.replace("|", "\\|") + "`"
        value = f" `{one.metavar}`" if one.is_option and one.metavar else ""
        notes = [one.help.replace("|", "\\|")]
        notes += [f"Default: `{one.default}`."] if one.default else []
        notes += ["Required."] if one.required and one.is_option else []
        lines.append(f"| {left}{value} | {' '.join(notes)} |")
    return "\n".join(lines)


def _in_usage(one: Parameter) -> str:
    if one.is_option:
        return f"{one.names[0]} {one.metavar}" if one.required else ""
    shown = one.metavar + ("..." if one.repeatable else "")
    return shown if one.required else f"[{shown}]"


def commands_text() -> str:
    """All commands, one section each."""
    return "\n\n".join(command_section(name, command) for name, command in commands().items())


def layers() -> str:
    """The import contracts of `pyproject.toml` as a picture, a line for each layer, the laboratory above."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^layers = (\[.*?^\])", text, re.DOTALL | re.MULTILINE)
    library, laboratory = (ast.literal_eval(rows) for rows in lists)
    tops = [row for row in laboratory if row != "hivlp"]
    blocks = [[row.replace("hivlp.", "").replace(" | ", "  ·  ") for row in rows] for rows in (tops, library)]
    bar, width = "─" * 56, 56
    inside = f"├{bar}┤\n".join("".join(f"│{row:^{width}}│\n" for row in rows) for rows in blocks)
    return f"```text\n┌{bar}┐\n{inside}└{bar}┘\n```"


def rooms() -> str:
    """Every package with the number of its modules and the first paragraph of its docstring."""
    lines = ["| folder | modules | what it does |", "|---|--:|---|"]
    for name in _packages():
        package = ROOT / name
        modules = sum(path.name != "__init__.py" for path in package.glob("*.py"))
        shown = name.removeprefix("src/hivlp/").removeprefix("lab/src/")
        paragraph = _docstring(package / "__init__.py").split("\n\n")[0]
        words = " ".join(paragraph.replace(":class:", "").replace("``", "`").split()).replace("|", "\\|")
        lines.append(f"| `{shown}/` | {modules} | {words} |")
    return "\n".join(lines)


def _packages() -> list[str]:
    """The packages of the library and the laboratory below their roots, by their folders."""
    found = [
        path.parent.relative_to(ROOT).as_posix()
        for root in ("src/hivlp", "lab/src/hivlp_lab")
        for path in (ROOT / root).glob("*/**/__init__.py")
    ]
    return sorted(found, key=lambda name: (name.startswith("lab"), name))


def torch_users() -> str:
    """The packages that need torch, and the single modules elsewhere that do."""
    packages = [name for name in _packages() if "Needs torch." in _docstring(ROOT / name / "__init__.py")]
    tops = [name for name in packages if name.startswith("src/")]
    others = [
        path.relative_to(ROOT / "src/hivlp").as_posix()
        for path in sorted((ROOT / "src/hivlp").rglob("*.py"))
        if _imports_torch(path) and not any(path.is_relative_to(ROOT / name) for name in tops)
    ]
    named = [f"`{name.removeprefix('src/hivlp/')}/`" for name in tops] + [f"`{name}`" for name in others]
    return f"The packages and modules that import torch: {', '.join(named)}."


def _imports_torch(path: Path) -> bool:
    """Whether a module imports torch when it is loaded."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = [alias.name for line in body if isinstance(line, ast.Import) for alias in line.names]
    names += [line.module or "" for line in body if isinstance(line, ast.ImportFrom)]
    return any(name.split(".")[0] == "torch" for name in names)


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def mini_lines() -> str:
    """What the shipped model reaches, from the result file that `benchmarks/model_card.py` wrote."""
    path = max((ROOT / "benchmarks" / "results").glob("model-mini-*.json"), key=lambda path: path.name)
    measured = json.loads(path.read_text(encoding="utf-8"))
    photographs, products = (_result(measured, name) for name in ("Flickr8k photos", "Products by title"))
    whole = _result(measured, "Flickr8k photos, all of val")
    captions, titles, names = (
        f"{one['R@10']:.1f} %"
        for one in (photographs["text_to_image"], products["text_to_image"], measured["kinds"])
    )
    speed, where = measured["speed"], measured["environment"]
    folder = ROOT / "src/hivlp/assets/mini"
    megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return "\n".join(
        [
            f"- **Size and speed.** {megabytes:.1f} MB; {speed['text_ms']:.1f} ms a text and "
            f"{speed['picture_ms']:.0f} ms an image on one thread ({where['machine']}, no GPU, no torch; "
            f"[all numbers](benchmarks/results/{path.name})).",
            f"- **Everyday photographs.** Among {photographs['images']:,} photographs of Flickr8k (split "
            f"`{photographs['split']}`), {captions} of the captions find their photograph in the first ten "
            f"hits (text→image R@10, average recall {photographs['AR']:.1f}); among all {whole['images']:,} "
            f"of `val`, {whole['text_to_image']['R@10']:.1f} % ({whole['AR']:.1f}). `report` is half of "
            "`val`; the settings of this model were chosen on all of `val`, before that half was set aside.",
            f"- **Product images.** Among {products['images']:,} products, none of which has a title or an "
            f"image that training had seen, {titles} of the titles find their image in the first ten hits.",
            f"- **Things by name.** Among a thousand photographs, one of each kind of thing, {names} of the "
            "names find theirs in the first ten hits; the image tower was trained on these kinds.",
        ]
    )


def _result(measured: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One evaluation of a result file of a model, with the split that its protocol names."""
    (result,) = (one for one in measured["results"] if one["name"] == name)
    return {**result, "split": result["protocol"].rsplit("split ", 1)[1]}


def search_tables() -> str:
    """The plan of each engine in every result of `hivlp bench search`, largest first."""
    return _tables("search", _of_search(search_pages.table), items=lambda measured: measured["data"]["items"])


def search_summary() -> str:
    """Where other engines are better than ours, and where they are not, in every result."""
    return _tables(
        "search", _of_search(search_pages.summary), items=lambda measured: measured["data"]["items"]
    )


def _of_search(
    page: Callable[[str, Mapping[str, Any], str], str],
) -> Callable[[Path, Mapping[str, Any]], str]:
    shipped = fingerprint(model_folder("mini"))
    return lambda path, measured: page(f"../benchmarks/results/{path.name}", measured, shipped)


def _tables(
    kind: str,
    table: Callable[[Path, Mapping[str, Any]], str],
    *,
    items: Callable[[Mapping[str, Any]], int],
) -> str:
    """The tables of all results of a kind, those of the most items first."""
    results = [
        (path, json.loads(path.read_text(encoding="utf-8")))
        for path in (ROOT / "benchmarks" / "results").glob(f"{kind}-*.json")
    ]
    results.sort(key=lambda pair: (-items(pair[1]), pair[0].name))
    return "\n\n".join(filter(None, (table(*pair) for pair in results))) or "No result has been stored yet."


def serve_tables() -> str:
    """What every result of `benchmarks/serve.py` says, largest index first."""
    return _tables("serve", _serve_table, items=lambda measured: measured["index"]["items"])


def _serve_table(path: Path, measured: Mapping[str, Any]) -> str:
    where, engine = measured["environment"], measured["engine_per_s"]
    count = measured.get("processes", 1)
    processes = "1 process" if count == 1 else f"{count} processes"
    lines = [
        f"**{measured['index']['items']:,} items**, {processes}, searches by words that were never asked "
        f"before, over HTTP on loopback, client and service on the same {where['cpus']} CPUs "
        f"({where['processor']}); [all numbers](../benchmarks/results/{path.name}), made by "
        "`python benchmarks/serve.py`",
        "",
        "| load | queries/s | of the engine alone | p50 ms | p99 ms | answers |",
        "|---|---|---|---|---|---|",
        f"| the engine alone, batches of 64, two threads, no HTTP | {engine:,.0f} | 1 | | | |",
    ]
    for name, words in _LOADS.items():
        run = measured.get(name)
        if run is not None:
            rate = run.get("queries_per_s", run["answered_per_s"])
            share = f"{rate / engine:.2f}" if name in ("throughput", "batches") else ""
            statuses = ", ".join(f"{count:,} × {status}" for status, count in sorted(run["statuses"].items()))
            lines.append(
                f"| {words} | {rate:,.0f} | {share} | {run['p50_ms']} | {run['p99_ms']} | {statuses} |"
            )
    soak = measured.get("soak")
    if soak is not None:
        memory = soak["private_mb"]
        lines += [
            "",
            f"Private memory: {measured['ready_mb']:,.0f} MB when ready; through the soak {memory[0]:,.0f} "
            f"to {max(memory):,.0f} MB, {soak['growth']:+.1%} after its first quarter.",
        ]
    return "\n".join(lines)


def reproduced(table: str, markdown: Callable[[Mapping[str, Any], str], str], shows: str) -> str:
    """What `hivlp reproduce TABLE` has measured, with its picture; runs with tiny models are no results."""
    parts = []
    for path in sorted((ROOT / "benchmarks" / "results").glob(f"{table}-*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["small"]:
            continue
        picture = DOCS / "images" / f"{path.stem}.png"
        parts.append(markdown(document, f"../benchmarks/results/{path.name}"))
        if picture.is_file():
            parts.append(f"![{shows}](images/{picture.name})")
    return "\n\n".join(parts) or "No result has been stored yet."


def speed_tables() -> str:
    """What `hivlp reproduce speed` has measured."""
    return reproduced("speed", report.markdown, "time of a query against the size of the pool")


def accuracy_tables() -> str:
    """What `hivlp reproduce flickr8k` has measured."""
    return reproduced("flickr8k", pages.markdown, "recall while training, by level, and in growing pools")


_LOADS = {
    "steady": "a steady rate",
    "throughput": "64 clients, one query a request",
    "batches": "8 clients, 32 queries a request",
    "overload": "twice that throughput",
    "soak": "soak: words, items, pictures, broken pictures, bad filters",
}


PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "train.md": {"settings": lambda: settings_table(TrainConfig), "presets": presets_table},
    "models.md": {"config": lambda: settings_table(ModelConfig)},
    "cli.md": {"commands": commands_text},
    "benchmarks.md": {"summary": search_summary, "search": search_tables},
    "serve.md": {"serve": serve_tables},
    "results.md": {"speed": speed_tables, "flickr8k": accuracy_tables},
    "architecture.md": {"layers": layers, "rooms": rooms},
    "../README.md": {"mini": mini_lines},
    "../CONTRIBUTING.md": {"layers": layers, "torch": torch_users},
}


def generated(page: str, text: str) -> str:
    """The text of a page with its generated parts as the code now gives them.

    Raises:
        ValueError: the page lacks the markers of a part.
    """
    for name, make in PARTS[page].items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"docs/{page} must hold {begin} and {end} once each; put them back")
        part = f"{begin}\n{make()}\n{end}"
        text = re.sub(f"{begin}.*?{end}", lambda _, part=part: part, text, flags=re.DOTALL)
    return text


def main() -> int:
    """Rewrites the pages, or with --check only compares them; 1 where a page was out of date then."""
    stale: list[str] = []
    for page in PARTS:
        path = DOCS / page
        before = path.read_text(encoding="utf-8")
        after = generated(page, before)
        if after != before:
            stale.append(page)
            if "--check" not in sys.argv[1:]:
                path.write_text(after, encoding="utf-8")
    word = "out of date" if "--check" in sys.argv[1:] else "rewritten"
    sys.stdout.write("".join(f"docs/{page}: {word}\n" for page in stale) or "nothing has changed\n")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
