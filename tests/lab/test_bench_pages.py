"""The page of the search benchmark says whose numbers it shows, and names the engines that are better."""

from __future__ import annotations

from typing import Any

from hivlp_lab.bench.pages import summary, table

SHIPPED, OTHER = "a" * 16, "b" * 16


def row(p50: float, **more: Any) -> dict[str, Any]:
    usual = {"plan": "p", "recall@10": 0.995, "recall_low": 0.991, "p50_ms": p50, "p99_ms": 2 * p50}
    usual |= {"p50_items_ms": p50 + 1, "p50_text_ms": p50 + 2, "qps_2_threads": 2e3 / p50}
    usual |= {"batch_qps": 1e3 / p50, "times_flat": 8 / p50, "hot_bytes_per_item": 70.0}
    return {**usual, "cold_bytes_per_item": 0.0, "build_s": 1.0, "scenes": None, **more}


def document(**more: Any) -> dict[str, Any]:
    scenes = {"recall@10": 0.999, "recall_low": 0.99, "p50_ms": 0.25, "queries": 300}
    best = {"flat": row(8), "ours": row(1, scenes=scenes), "scann": row(0.5, hot_bytes_per_item=2000.0)}
    usual = {"target": 0.99, "threads": 1, "bandwidth_gb_s": 16.0, "best": best, "left_out": []}
    usual |= {"environment": {"processor": "P", "cpus": 2}, "flat": {"slow": False}}
    usual |= {"rows": [{"engine": name} for name in (*best, "usearch")], "screened": [{"engine": "ours"}] * 3}
    data = {"items": 1000, "width": 8, "real_items": 500, "model": SHIPPED, "sources": ["pairs.tsv"]}
    usual["data"] = {**data, "queries": ["mine.tsv"], "described": "captions of photographs given"}
    return {**usual, **more}


def test_the_table_names_model_queries_command_and_the_sweep() -> None:
    text = table("r.json", document(), SHIPPED)
    assert f"model `{SHIPPED}`; queries: captions of photographs given" in text
    assert "`hivlp bench search --items 1000 --data pairs.tsv --queries mine.tsv`" in text
    assert "| ours | p | 4 | 0.9950 | 0.9910 | 1.000 | 2.000 | 3.000 | 2.000 | 8.0 | 2,000 | 1,000 |" in text
    assert text.index("| scann |") < text.index("| ours |") < text.index("| flat |"), "fastest first"
    assert "| ours | 0.9990 | 0.9900 | 0.250 |" in text, "drawn scenes apart"
    assert "- usearch: no setting promises the target" in text
    assert "earlier" not in text


def test_the_table_says_what_is_stale_and_what_was_disturbed() -> None:
    assert f"**an earlier model** (`{SHIPPED}`)" in table("r.json", document(), OTHER)
    slow = {"slow": True, "gb_s": 5.3, "bandwidth_gb_s": 16.4, "measured": 3}
    text = table("r.json", document(flat=slow), SHIPPED)
    assert "- flat reads 5.3 of the 16.4 GB/s of the memory, also when measured 3 times" in text


def test_the_summary_names_the_engines_that_are_better() -> None:
    text = summary("r.json", document(), SHIPPED)
    assert "- answers a single query faster than ours (1.000 ms): scann (0.500 ms)\n" in text
    assert (
        "- takes less memory than ours (70 bytes/item): no engine; does not: scann (2,000 bytes/item)" in text
    )
    assert "- with ids, captions and metadata a search of ours takes 2.000 ms, 2.0 times" in text
    best = {name: one for name, one in document()["best"].items() if name != "ours"}
    assert "ours: no plan promises a recall@10 of 0.99" in summary("r.json", document(best=best), SHIPPED)
