"""A result of ``hivlp bench search`` as parts of a page in Markdown; it measures nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


def table(place: str, measured: Mapping[str, Any], shipped: str) -> str:
    """The plan of each engine, fastest first.

    Args:
        place: of the result file, as the page links to it.
        measured: the document of the result.
        shipped: the fingerprint of the model that is shipped now.
    """
    data, where = measured["data"], measured["environment"]
    model = _model_words(data["model"], shipped)
    lines = [
        f"**{data['items']:,} items × {data['width']}** ({data['real_items']:,} real), recall@10 ≥ "
        f"{measured['target']:g}, {measured['threads']} thread(s), {where['processor']}, "
        f"{where['cpus']} CPUs, {measured['bandwidth_gb_s']:.0f} GB/s; {model}; "
        f"queries: {data['described']}; "
        f"[all numbers]({place}), made by `{_search_command(measured)}`",
        "",
        "| engine | plan | settings | recall@10 | lower bound | p50 ms | with items | and text | p99 ms "
        "| × flat | q/s, 2 threads | q/s, batch | bytes/item hot | cold | build s |",
        "|---|---|" + "--:|" * 13,
    ]
    tried = Counter(row["engine"] for row in [*measured["rows"], *measured["screened"]])
    for name, row in sorted(measured["best"].items(), key=lambda pair: pair[1]["p50_ms"]):
        numbers = [
            f"{tried[name]}",
            f"{row['recall@10']:.4f}",
            f"{row['recall_low']:.4f}",
            f"{row['p50_ms']:.3f}",
            _or_dash(row.get("p50_items_ms"), ".3f"),
            _or_dash(row.get("p50_text_ms"), ".3f"),
            f"{row['p99_ms']:.3f}",
            _or_dash(row["times_flat"], ".1f"),
            f"{row['qps_2_threads']:,.0f}",
            f"{row['batch_qps']:,.0f}",
            _or_dash(row["hot_bytes_per_item"], ",.0f"),
            f"{row['cold_bytes_per_item']:,.0f}",
            f"{row['build_s']:,.0f}",
        ]
        lines.append(f"| {name} | {row['plan']} | {' | '.join(numbers)} |")
    return "\n".join([*lines, *_scenes_table(measured["best"]), *_search_remarks(measured)])


def _scenes_table(best: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The same plans searched by captions of drawn scenes, where there are some."""
    rows = [(name, row) for name, row in best.items() if row.get("scenes")]
    if not rows:
        return []
    lines = [
        "",
        "The same plans with captions of drawn scenes, which count nowhere above:",
        "",
    ]
    lines += ["| engine | recall@10 | lower bound | p50 ms |", "|---|--:|--:|--:|"]
    for name, row in sorted(rows, key=lambda pair: pair[1]["p50_ms"]):
        found = row["scenes"]
        lines.append(
            f"| {name} | {found['recall@10']:.4f} | {found['recall_low']:.4f} | {found['p50_ms']:.3f} |"
        )
    return lines


def _search_remarks(measured: Mapping[str, Any]) -> list[str]:
    """What else a reader must know: a slow flat search, engines below the target, and those left out."""
    remarks = list[str]()
    flat = measured.get("flat")
    if flat and flat["slow"]:
        remarks.append(
            f"- flat reads {flat['gb_s']:.1f} of the {flat['bandwidth_gb_s']:.1f} GB/s of the memory, also "
            f"when measured {flat['measured']} times: the multiples of flat are too large"
        )
    below = sorted({row["engine"] for row in measured["rows"]} - set(measured["best"]))
    remarks += [f"- {name}: no setting promises the target" for name in below]
    for one in measured["left_out"]:
        plan = f" {one['plan']}" if "plan" in one else ""
        remarks.append(f"- left out: {one['engine']}{plan}: {one['reason']}")
    return ["", *remarks] if remarks else []


_BETTER_THAN_OURS = (
    ("p50_ms", "lower", "answers a single query faster", lambda value: f"{value:.3f} ms"),
    ("p50_text_ms", "lower", "is faster with encoding and items", lambda value: f"{value:.3f} ms"),
    ("qps_2_threads", "higher", "answers more queries a second by two threads", lambda n: f"{n:,.0f}"),
    ("batch_qps", "higher", "answers more queries a second in a batch", lambda value: f"{value:,.0f}"),
    ("hot_bytes_per_item", "lower", "takes less memory", lambda value: f"{value:,.0f} bytes/item"),
    ("build_s", "lower", "is built faster", lambda value: f"{value:,.0f} s"),
)


def summary(place: str, measured: Mapping[str, Any], shipped: str) -> str:
    """One line for each number: which engines are better than ours, and which are not. See `table`."""
    data, best = measured["data"], measured["best"]
    model = _model_words(data["model"], shipped)
    title = f"**{data['items']:,} items**, {model}: `{_search_command(measured)}` ([numbers]({place}))"
    if not any(row["engine"] == "ours" for row in measured["rows"]):
        return ""  # its table says all
    if "ours" not in best:
        return f"{title}\n\n- ours: no plan promises a recall@10 of {measured['target']:g}"
    lines = [title, ""]
    for field, wanted, words, shown in _BETTER_THAN_OURS:
        own = best["ours"].get(field)
        others = {
            name: row[field]
            for name, row in best.items()
            if name not in ("ours", "ours-untuned", "flat") and row.get(field) is not None
        }
        if own is None or not others:
            continue
        sign = 1 if wanted == "lower" else -1
        ordered = sorted(others, key=lambda name: sign * others[name])
        ahead = [f"{name} ({shown(others[name])})" for name in ordered if sign * others[name] < sign * own]
        behind = [f"{name} ({shown(others[name])})" for name in ordered if sign * others[name] >= sign * own]
        line = f"- {words} than ours ({shown(own)}): {', '.join(ahead) or 'no engine'}"
        lines.append(f"{line}; does not: {', '.join(behind)}" if behind else line)
    with_items = best["ours"].get("p50_items_ms")
    if with_items is not None:
        lines.append(
            f"- with ids, captions and metadata a search of ours takes {with_items:.3f} ms, "
            f"{with_items / best['ours']['p50_ms']:.1f} times as long as the bare one"
        )
    return "\n".join(lines)


def _search_command(measured: Mapping[str, Any]) -> str:
    """The command of a result."""
    data = measured["data"]
    parts = [f"hivlp bench search --items {data['items']}", *(f"--data {one}" for one in data["sources"])]
    parts += [f"--queries {one}" for one in data["queries"]]
    parts += [f"--recall {measured['target']:g}"] if measured["target"] != 0.99 else []
    parts += [f"--threads {measured['threads']}"] if measured["threads"] != 1 else []
    return " ".join(parts)


def _model_words(model: str, shipped: str) -> str:
    return f"model `{model}`" if model == shipped else f"**an earlier model** (`{model}`)"


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
