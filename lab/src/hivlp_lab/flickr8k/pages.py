"""The comparison as Markdown: tables of systems, levels, re-ranking, pools and ablations, and the targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hivlp_lab.flickr8k import ablation_pages
from hivlp_lab.flickr8k.cells import AT, Results, over_seeds, plain, table
from hivlp_lab.flickr8k.claims import mean_of

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


def markdown(document: Mapping[str, Any], result: str) -> str:
    """All tables of a document; ``result`` is the address of its file."""
    ablations = document["ablations"]
    parts = [
        _conditions(document, result),
        table(HEADINGS, system_rows(document)),
        _levels(document),
        _small_pool(document),
        _reranked(document),
        _pools(document),
        *([ablation_pages.variants(ablations), ablation_pages.candidates(ablations)] if ablations else []),
        _curves(document),
        _targets(document),
        _paper(document),
    ]
    return "\n\n".join(part for part in parts if part)


def system_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """A row a system, by ``HEADINGS``; fusion models stand in the table of the small pool."""
    floor = document["floor"]
    rows = [["linear CCA of pooled features and TF-IDF words", *plain(floor), "", "", ""]]
    for name, by_seed in document["systems"].items():
        if _whole(by_seed):
            spent = (
                f"{mean_of(by_seed, 'macs') / 1e12:.1f}",
                f"{mean_of(by_seed, 'epochs'):.1f}",
                f"{mean_of(by_seed, 'parameters') / 1e6:.1f}",
            )
            rows.append([NAMES[name], *over_seeds(by_seed), *spent])
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
    fewer = len(document.get("fusion_seeds", document["seeds"]))  # older documents had all seeds everywhere
    more = f" --fusion-seeds {fewer}" if fewer < len(document["seeds"]) else ""
    more += " --ablations" if document["ablations"] else ""
    if document["pools"]:
        more += "".join(f" --distractors {source}" for source in document["pools"]["sources"])
    return (
        f"Every row: `hivlp reproduce flickr8k --data captions.tsv --backbone {data['backbone']} "
        f"--seeds {seeds}{more}`; means over seeds ± standard deviation; on "
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
            rows.append([NAMES[name], f"{width} wide", *over_seeds(level)])
        cascade = {seed: result["cascade"] for seed, result in levelled.items()}
        kept = mean_of(cascade, "kept")
        rows.append([NAMES[name], f"cascade, 200 candidates, keeps {100 * kept:.2f} %", *over_seeds(cascade)])
    return table(("system", "level", *HEADINGS[1:4]), rows)


def _small_pool(document: Mapping[str, Any]) -> str:
    """Fusion models are too dear for all pairs of val."""
    rows = [["linear CCA", *plain(document["floor"]["small_pool"])]]
    for name, by_seed in document["systems"].items():
        if by_seed:
            rows.append(
                [NAMES[name], *over_seeds({seed: one["small_pool"] for seed, one in by_seed.items()})]
            )
    every = document["sizes"]["every"]
    return (
        f"**Small pool**, every pair scored: one picture of {every} of val with all its captions.\n\n"
        + table(("system", *HEADINGS[1:4]), rows)
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
                rows.append([title, _RERANKED[key.split("-")[0]] + _depth(key), *over_seeds(part)])
        parts.append(
            f"**{_short(pair)}**: share of the fusion model in the mixture, by seed: {shares}\n\n"
            + table(("searched", "order", *HEADINGS[1:4]), rows)
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
        recalls = " / ".join(f"{row['recalls'][key]:.1f}" for key in AT)
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
    return about + table(headings, rows)


def _curves(document: Mapping[str, Any]) -> str:
    rows = []
    for name, by_seed in document["systems"].items():
        if not all("AR" in point for result in by_seed.values() for point in result["curve"]):
            continue
        for seed, result in by_seed.items():
            points = ", ".join(f"{point['AR']:.1f}" for point in result["curve"])
            rows.append([NAMES[name], seed, f"{result['steps']:,}", points])
    return "**Curves**: AR on val at even distances of a training.\n\n" + table(
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
    return table(("target", "system", "wanted", "reached", ""), rows)


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
    return table(headings, rows)


def _whole(by_seed: Results) -> bool:
    return bool(by_seed) and all("AR" in result for result in by_seed.values())
