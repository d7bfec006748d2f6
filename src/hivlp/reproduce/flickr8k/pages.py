"""The comparison as Markdown: tables of systems, levels, re-ranking, pools and ablations, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hivlp.reproduce.flickr8k.claims import mean_of, spread_of

HEADINGS = (
    "system",
    "text→image R@1 / 5 / 10",
    "image→text R@1 / 5 / 10",
    "AR",
    "TMAC",
    "epochs",
    "M weights",
)
NAMES = {
    "lightningdot": "LightningDOT-like: CMR + VMLM + SMRM, one width",
    "uniter": "UNITER-like: every pair, ITM",
    "meter": "METER-like: every pair, ITM",
    "hivlp": "**HiVLP**, LightningDOT's towers: HRL + VLM + LRM",
    "hivlp-compact": "**HiVLP**, compact towers: HRL",
    "hivlp-listening": "**HiVLP**, compact, taught by the fusion model",
    "hivlp-distilled": "**HiVLP**, compact, taught by an ensemble",
}
_WAYS = ("text_to_image", "image_to_text")
_AT = ("R@1", "R@5", "R@10")
Results = Mapping[str, Mapping[str, Any]]


def markdown(document: Mapping[str, Any], result: str) -> str:
    """All tables of a document; ``result`` is the address of its file."""
    parts = [
        _conditions(document, result),
        _table(HEADINGS, system_rows(document)),
        _levels(document),
        _small_pool(document),
        _reranked(document),
        _pools(document),
        _ablations(document),
        _candidates(document),
        _curves(document),
        _targets(document),
        _paper(document),
    ]
    return "\n\n".join(part for part in parts if part)


def system_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """A row a system, by ``HEADINGS``; fusion models stand in the table of the small pool."""
    floor = document["floor"]
    rows = [["linear CCA of pooled features and TF-IDF words", *_plain(floor), "", "", ""]]
    for name, by_seed in document["systems"].items():
        if _whole(by_seed):
            spent = (
                f"{mean_of(by_seed, 'macs') / 1e12:.1f}",
                f"{mean_of(by_seed, 'epochs'):.1f}",
                f"{mean_of(by_seed, 'parameters') / 1e6:.1f}",
            )
            rows.append([NAMES[name], *_over_seeds(by_seed), *spent])
    return rows


def target(one: Mapping[str, Any]) -> str:
    """A target in a line."""
    met = "reached" if one["met"] else "missed"
    return f"{one['what']} ({one['system']}): {one['reached']:.4g} of {one['wanted']:.4g} wanted: {met}"


def _conditions(document: Mapping[str, Any], result: str) -> str:
    where, data = document["environment"], document["data"]
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    counts = ", ".join(f"{number:,} {split}" for split, number in data["pictures"].items())
    seeds = ",".join(map(str, document["seeds"]))
    return (
        f"Every row: `hivlp reproduce flickr8k --data captions.tsv --backbone {data['backbone']} "
        f"--seeds {seeds}`, {len(document['seeds'])} seeds (mean ± standard deviation), on "
        f"{where['processor']}, {document['measured_at'][:10]}; {packages}; pictures: {counts}; "
        f"{data['vocabulary']:,} word pieces. Val: 1,000 pictures and 5,000 captions, in percent. "
        f"[All numbers]({result})."
    )


def _levels(document: Mapping[str, Any]) -> str:
    rows = []
    for name, by_seed in document["systems"].items():
        levelled = {seed: result for seed, result in by_seed.items() if "levels" in result}
        if not levelled:
            continue
        for width in next(iter(levelled.values()))["levels"]:
            level = {seed: result["levels"][width] for seed, result in levelled.items()}
            rows.append([NAMES[name], f"{width} wide", *_over_seeds(level)])
        cascade = {seed: result["cascade"] for seed, result in levelled.items()}
        kept = mean_of(cascade, "kept")
        rows.append(
            [NAMES[name], f"cascade, 200 candidates, keeps {100 * kept:.2f} %", *_over_seeds(cascade)]
        )
    return _table(("system", "level", *HEADINGS[1:4]), rows)


def _small_pool(document: Mapping[str, Any]) -> str:
    """Fusion models are too dear for all pairs of val."""
    rows = [["linear CCA", *_plain(document["floor"]["small_pool"])]]
    for name, by_seed in document["systems"].items():
        if by_seed:
            rows.append(
                [NAMES[name], *_over_seeds({seed: one["small_pool"] for seed, one in by_seed.items()})]
            )
    every = document["sizes"]["every"]
    return (
        f"**Small pool**, every pair scored: one picture of {every} of val with all its captions.\n\n"
        + _table(("system", *HEADINGS[1:4]), rows)
    )


def _reranked(document: Mapping[str, Any]) -> str:
    parts = []
    for pair, by_seed in document["reranked"].items():
        first = next(iter(by_seed.values()))
        shares = ", ".join(f"{result['share']:g}" for result in by_seed.values())
        rows = []
        for where, title in (
            ("small_pool", "small pool, all its queries"),
            ("val", "all of val, some queries"),
        ):
            for key in (key for key in first[where] if key != "queries"):
                part = {seed: result[where][key] for seed, result in by_seed.items()}
                rows.append([title, _RERANKED[key.split("-")[0]] + _depth(key), *_over_seeds(part)])
        parts.append(
            f"**{_short(pair)}**: share of the fusion model in the mixture, by seed: {shares}\n\n"
            + _table(("searched", "order", *HEADINGS[1:4]), rows)
        )
    return "\n\n".join(parts)


_RERANKED = {
    "dual": "dual encoder alone",
    "fusion": "fusion model, every pair",
    "alone": "re-ranked by the fusion model",
    "mixed": "re-ranked by the mixture",
}


def _depth(key: str) -> str:
    return f", top {key.split('-')[1]}" if "-" in key else ""


def _short(pair: str) -> str:
    dual, fusion = pair.split("+")
    return f"{NAMES[dual].replace('**', '')}, then {NAMES[fusion].split(':')[0]}"


def _pools(document: Mapping[str, Any]) -> str:
    pools = document["pools"]
    if not pools:
        return ""
    rows = []
    for row in pools["rows"]:
        recalls = " / ".join(f"{row['recalls'][key]:.1f}" for key in _AT)
        exact = f"{row['exact']['R@10']:.1f}" if "exact" in row else ""
        times = f"{row['encode_ms']:.2f}", f"{row['search_ms']:.3f}"
        pairs_ms = pools["fusion_pair_ms"] * row["candidates"]
        factor = f"{pairs_ms / (row['encode_ms'] + row['search_ms']):,.0f}"
        rows.append(
            [f"{row['candidates']:,}", NAMES[row["system"]].split(":")[0], recalls, exact, *times, factor]
        )
    about = (
        f"**Growing pools**, text→image, all captions of val, seed {pools['seed']}: behind the pictures of "
        f"val {pools['real']:,} others ({', '.join(pools['sources'])}), then collages of two of them. A "
        f"caption at a time; the UNITER-like model takes {pools['fusion_pair_ms']:.2f} ms a pair, and the "
        "factor is over its time for all pairs.\n\n"
    )
    headings = (
        "candidates",
        "system",
        "R@1 / 5 / 10",
        "R@10 without cascade",
        "encode ms",
        "search ms",
        "× UNITER-like",
    )
    return about + _table(headings, rows)


def _ablations(document: Mapping[str, Any]) -> str:
    ablations = document["ablations"]
    if not ablations:
        return ""
    rows = []
    widths: list[str] = []
    for name, by_seed in ablations["variants"].items():
        levels = {seed: result["levels"] for seed, result in by_seed.items()}
        widths = widths or list(next(iter(levels.values())))
        rows.append([_VARIANTS.get(name, name), *(_level(levels, width) for width in widths), ""])
        if "signs" in next(iter(by_seed.values())):
            rows[-1][-1] = _average({seed: result["signs"] for seed, result in by_seed.items()})
    rows[0][-1] = _average({seed: one["signs"] for seed, one in ablations["signs"].items()})
    for name, title in (
        ("rotated", "one width, turned to its principal directions"),
        ("cut", "one width, cut"),
    ):
        levels = {seed: result["levels"] for seed, result in ablations[name].items()}
        rows.append([title, *(_level(levels, width) for width in widths), ""])
    return (
        "**Ablations** on the compact towers: AR on val by level, and by the signs of the finest vector.\n\n"
        + _table(("variant", *(f"{width}" for width in widths), "signs"), rows)
    )


_VARIANTS = {
    "nested": "HRL, nested levels: what the others differ from",
    "separate": "a head of its own for each level",
    "one width": "one width only",
    "consistency": "with KL(fine ‖ level)",
    "binary": "with a binary level",
    "VLM": "with VLM",
    "LRM": "with LRM",
    "VLM and LRM": "with VLM and LRM",
}


def _level(levels: Results, width: str) -> str:
    return _average({seed: by_width[width] for seed, by_width in levels.items() if width in by_width})


def _average(by_seed: Results) -> str:
    if not by_seed:
        return ""
    spread = spread_of(by_seed, "AR")
    return f"{mean_of(by_seed, 'AR'):.2f}" + (f" ± {spread:.2f}" if len(by_seed) > 1 else "")


def _candidates(document: Mapping[str, Any]) -> str:
    ablations = document["ablations"]
    if not ablations:
        return ""
    by_seed = ablations["candidates"]
    first = next(iter(by_seed.values()))
    counts = list(next(iter(first.values())))
    rows = [
        [f"{width} wide", *(f"{100 * mean_of(by_seed, width, count):.2f}" for count in counts)]
        for width in first
    ]
    return (
        "**Candidates kept** by the coarse level: AR of the cascade in percent of the finest level's.\n\n"
        + _table(("coarse level", *counts), rows)
    )


def _curves(document: Mapping[str, Any]) -> str:
    rows = []
    for name, by_seed in document["systems"].items():
        if not all("AR" in point for result in by_seed.values() for point in result["curve"]):
            continue
        for seed, result in by_seed.items():
            points = ", ".join(f"{point['AR']:.1f}" for point in result["curve"])
            rows.append([NAMES[name], seed, f"{result['steps']:,}", points])
    return "**Curves**: AR on val at even distances of a training.\n\n" + _table(
        ("system", "seed", "steps", "AR"), rows
    )


def _targets(document: Mapping[str, Any]) -> str:
    rows = [
        [
            one["what"],
            one["system"],
            f"{one['wanted']:.4g}",
            f"{one['reached']:.4g}",
            "reached" if one["met"] else "**missed**",
        ]
        for one in document["targets"]
    ]
    return _table(("target", "system", "wanted", "reached", ""), rows)


def _paper(document: Mapping[str, Any]) -> str:
    """Theirs beside ours: differences to LightningDOT, since data and pre-training differ."""
    theirs = {one["system"]: one for one in document["paper"]}
    base = theirs["lightningdot"]["AR"]
    ours = document["systems"]
    rows = []
    for system, one in theirs.items():
        difference = ""
        if system in ours and "lightningdot" in ours and ours[system] and ours["lightningdot"]:
            pool = ("small_pool", "AR")
            difference = f"{mean_of(ours[system], *pool) - mean_of(ours['lightningdot'], *pool):+.1f}"
        rows.append([one["about"], f"{one['AR']:.1f}", f"{one['AR'] - base:+.1f}", difference])
    headings = (
        "theirs: Flickr30k test, 1,000 pictures",
        "AR, theirs",
        "to LightningDOT, theirs",
        "to LightningDOT, ours, small pool",
    )
    return _table(headings, rows)


def _whole(by_seed: Results) -> bool:
    return bool(by_seed) and all("AR" in result for result in by_seed.values())


def _plain(values: Mapping[str, Any]) -> list[str]:
    recalls = [" / ".join(f"{values[way][key]:.1f}" for key in _AT) for way in _WAYS]
    return [*recalls, f"{values['AR']:.1f}"]


def _over_seeds(by_seed: Results) -> list[str]:
    recalls = [" / ".join(f"{mean_of(by_seed, way, key):.1f}" for key in _AT) for way in _WAYS]
    spread = spread_of(by_seed, "AR")
    return [*recalls, f"{mean_of(by_seed, 'AR'):.1f}" + (f" ± {spread:.1f}" if len(by_seed) > 1 else "")]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(headings), _line(["---"] * len(headings)), *map(_line, rows)]
    return "\n".join(lines) if len(lines) > 2 else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
