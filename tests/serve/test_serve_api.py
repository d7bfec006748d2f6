"""The API answers what the library answers, by every way of asking."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fakes import ColourEncoder, painted, png
from hivlp.retriever import Index
from hivlp.search.query import Part
from pictures import BLUE, GREEN, RED, camera_raw, corners, encoded, exif, stored
from serve_tools import client, colour_index, wait_until

SCORES = ("id", "score", "coarse_rank", "caption", "meta", "width")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with colour_index(tmp_path) as opened:
        yield opened


@pytest.fixture
def api(index: Index) -> Iterator[TestClient]:
    with client(index) as opened:
        yield opened


def b64(*colours: str) -> str:
    return base64.b64encode(png(*colours)).decode()


def same(answer: dict[str, Any], hits: Any) -> bool:
    """Whether an answer of the API holds the hits of the library."""
    mine = [{name: hit[name] for name in SCORES} for hit in answer["hits"]]
    theirs = [{name: hit[name] for name in SCORES} for hit in hits.as_dict()["hits"]]
    for hit in mine + theirs:
        hit["score"] = round(hit["score"], 5)
    return mine == theirs and bool(mine)


def error(response: Any) -> tuple[int, str, str]:
    body = response.json()["error"]
    assert body["request_id"] == response.headers["x-request-id"]
    return response.status_code, body["code"], body["message"]


def test_words_find_what_the_library_finds(api: TestClient, index: Index) -> None:
    answer = api.get("/v1/search", params={"q": "something purple", "k": 3}).json()
    assert set(answer) == {"hits", "timings_ms", "plan", "notes", "index"}
    assert answer["hits"][0]["id"] == "purple.png"
    assert same(answer, index.search("something purple", 3))
    assert same(
        api.post("/v1/search", json={"query": "something purple", "k": 3}).json(),
        index.search("something purple", 3),
    )
    assert answer["timings_ms"]["encode"] > 0
    assert answer["timings_ms"]["total"] == pytest.approx(sum(list(answer["timings_ms"].values())[:4]))


def test_the_embedding_of_a_query_is_kept(api: TestClient, index: Index) -> None:
    first = api.get("/v1/search", params={"q": "cyan"}).json()
    again = api.get("/v1/search", params={"q": " cyan "}).json()
    assert first["hits"] == again["hits"]
    assert again["timings_ms"]["encode"] == 0, "it was not encoded twice"
    assert index.encoder.texts_seen.count("cyan") == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_a_text_that_is_cut_is_told_of_each_time(api: TestClient, index: Index) -> None:
    long = "red " * 20
    for _ in range(2):  # the second time its embedding is kept
        notes = api.get("/v1/search", params={"q": long}).json()["notes"]
        assert notes == list(index.search(long).notes)
        assert "its end was cut" in notes[0]


@pytest.mark.parametrize("way", ["json", "form"])
def test_a_picture_finds_its_like(api: TestClient, index: Index, way: str) -> None:
    if way == "json":
        response = api.post("/v1/search", json={"image_base64": b64("orange"), "k": 2})
    else:
        response = api.post("/v1/search", files={"image": ("x.png", png("orange"))}, data={"k": "2"})
    assert same(response.json(), index.search(png("orange"), 2))
    assert response.json()["hits"][0]["id"] == "orange.png"


def test_an_item_finds_its_like_without_itself(api: TestClient, index: Index) -> None:
    answers = [
        api.get("/v1/search", params={"item": "red.png", "k": 3}).json(),
        api.post("/v1/search", json={"item": "red.png", "k": 3}).json(),
    ]
    for answer in answers:
        assert same(answer, index.search(Part(item="red.png"), 3))
        assert "red.png" not in [hit["id"] for hit in answer["hits"]]
    assert error(api.get("/v1/search", params={"item": "nope"}))[:2] == (404, "not_found")


def test_a_mix_is_a_weighted_sum(api: TestClient, index: Index) -> None:
    mix = [
        {"image_base64": b64("red")},
        {"query": "blue", "weight": 0.5},
        {"item": "pink.png", "weight": -0.2},
    ]
    parts = [Part(image=png("red")), Part(text="blue", weight=0.5), Part(item="pink.png", weight=-0.2)]
    answer = api.post("/v1/search", json={"mix": mix, "k": 4}).json()
    assert same(answer, index.search(parts, 4))
    assert "pink.png" not in [hit["id"] for hit in answer["hits"]]
    both = api.post("/v1/search", files={"image": ("x.png", png("red"))}, data={"q": "blue"}).json()
    assert same(both, index.search([Part(image=png("red")), Part(text="blue", weight=0.8)], 10))
    by_item = api.get("/v1/search", params={"q": "blue", "item": "red.png"}).json()
    assert same(by_item, index.search([Part(text="blue", weight=0.8), Part(item="red.png")], 10))


def test_a_mix_that_cancels_out_is_refused(api: TestClient) -> None:
    mix = [{"query": "red"}, {"query": "red", "weight": -1}]
    assert error(api.post("/v1/search", json={"mix": mix})) == (
        400,
        "bad_query",
        "the parts of this mix cancel each other out, so no direction is left to search in; change the "
        "weights",
    )


def test_several_queries_in_one_request(api: TestClient, index: Index) -> None:
    queries = [{"query": "red"}, {"image_base64": b64("blue")}, {"item": "pink.png"}, {"query": "red"}]
    results = api.post("/v1/search", json={"queries": queries, "k": 2}).json()["results"]
    wanted = [
        index.search("red", 2),
        index.search(png("blue"), 2),
        index.search(Part(item="pink.png"), 2),
        index.search("red", 2),
    ]
    assert all(same(result, hits) for result, hits in zip(results, wanted, strict=True))
    with client(colour_index_again(index), max_queries=3) as small:
        assert error(small.post("/v1/search", json={"queries": queries}))[:2] == (413, "too_large")


def colour_index_again(index: Index) -> Index:
    return Index.open(index.info()["path"], index.encoder)


@pytest.mark.parametrize(
    "options",
    [
        {"candidates": 3},
        {"exact": True},
        {"where": "width > 10 and kind = 'image'"},
        {"kind": "text"},
        {"min_score": 0.5},
    ],
    ids=str,
)
def test_options_are_those_of_the_library(api: TestClient, index: Index, options: dict[str, Any]) -> None:
    hits = index.search("red", 4, **options)
    by_get = api.get("/v1/search", params={"q": "red", "k": 4, **options}).json()
    by_post = api.post("/v1/search", json={"query": "red", "k": 4, **options}).json()
    assert same(by_get, hits)
    assert same(by_post, hits)
    assert by_get["plan"] == by_post["plan"] == hits.plan


def test_nothing_found_is_an_answer(api: TestClient) -> None:
    answer = api.get("/v1/search", params={"q": "red blue", "min_score": 0.999}).json()
    assert answer["hits"] == []
    assert "nothing scored at least 0.999; the best score was" in answer["notes"][0]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"q": ""}, "has no word"),
        ({"q": "red", "min_probability": "0.5"}, "tune"),
        ({"q": "red", "candidates": "4", "exact": "true"}, "exclude each other"),
        ({"q": "red", "k": "1001"}, "this service gives at most 1,000 hits"),
    ],
)
def test_what_can_not_be_asked_is_told(api: TestClient, params: dict[str, str], words: str) -> None:
    status, code, message = error(api.get("/v1/search", params=params))
    assert (status, code) == (400, "bad_query")
    assert words in message


def test_an_option_that_does_not_fit_the_query_is_refused_before_decoding(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(
        "hivlp.serve.service._encode_image", lambda encoder, data, limits: decoded.append(data)
    )
    for option in ({"min_probability": 0.5}, {"rerank": 20}):
        answer = api.post("/v1/search", json={"image_base64": b64("red"), **option})
        status, code, message = error(answer)
        assert (status, code) == (400, "bad_query")
        assert "only for searches by words" in message
    bad_filter = api.post("/v1/search", json={"image_base64": b64("red"), "where": "colour ="})
    assert error(bad_filter)[:2] == (400, "bad_filter")
    assert decoded == []


@pytest.mark.parametrize("where", ["colour =", "nothing = 1", ""])
def test_a_filter_that_is_none_has_a_code_of_its_own(api: TestClient, where: str) -> None:
    status, code, message = error(api.get("/v1/search", params={"q": "red", "where": where}))
    assert (status, code) == (400, "bad_filter")
    assert "filter" in message or "no item has" in message


def test_the_page_is_looked_for_anew_each_time(api: TestClient) -> None:
    page = api.get("/page/main.js")
    assert page.headers["cache-control"] == "no-cache"
    assert api.get("/page/main.js", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    assert api.get("/v1/stats").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "give exactly one of query, image_base64, item, mix"),
        ({"query": "red", "item": "x"}, "give exactly one of"),
        ({"query": 5}, "query: must be text"),
        ({"query": "red", "k": 0}, "k: must be at least 1"),
        ({"query": "red", "kk": 5}, "kk: is not known here"),
        ({"query": "red", "k": 1.5}, "k: must be a whole number"),
        ({"query": "red", "kind": "sound"}, "kind: must be 'image' or 'text'"),
        ({"mix": []}, "mix: must have 1 or more entries"),
        ({"queries": []}, "queries: must have 1 or more entries"),
    ],
)
def test_a_body_of_another_form_is_told(api: TestClient, body: dict[str, Any], words: str) -> None:
    status, code, message = error(api.post("/v1/search", json=body))
    assert (status, code) == (422, "invalid")
    assert words in message


def test_bodies_must_be_what_they_say(api: TestClient) -> None:
    said = api.post("/v1/search", content=b'{"query": "red"}', headers={"content-type": "text/plain"})
    assert error(said)[:2] == (415, "bad_type")
    broken = api.post("/v1/search", content=b'{"query": ', headers={"content-type": "application/json"})
    assert error(broken)[:2] == (422, "invalid")
    assert error(api.post("/v1/search", files={"picture": png("red")}))[2].startswith(
        "the form has no file field"
    )
    unreadable = api.post("/v1/search", json={"image_base64": base64.b64encode(b"no picture").decode()})
    assert error(unreadable)[:2] == (422, "bad_image")
    assert error(api.get("/v1/nothing"))[:2] == (404, "not_found")
    assert error(api.put("/v1/search"))[:2] == (405, "bad_method")


def test_one_bad_picture_does_not_disturb_its_neighbours(api: TestClient) -> None:
    queries = [{"query": "red"}, {"image_base64": base64.b64encode(png("red")[:60]).decode()}]
    assert error(api.post("/v1/search", json={"queries": queries}))[:2] == (422, "bad_image")
    assert api.get("/v1/search", params={"q": "red"}).json()["hits"][0]["id"] == "red.png"


def test_items_and_their_pictures(api: TestClient, tmp_path: Path) -> None:
    item = api.get("/v1/items/red.png").json()
    assert item == {
        "id": "red.png",
        "uri": str(tmp_path / "pictures" / "red.png"),
        "kind": "image",
        "caption": "something red",
        "meta": {},
        "width": 24,
        "height": 24,
    }
    original = api.get("/v1/items/red.png/original")
    assert (original.content, original.headers["content-type"]) == (png("red"), "image/png")
    small = api.get("/v1/items/red.png/thumbnail", params={"size": "160"})
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(small.content)).size == (24, 24), "a small picture is not made larger"
    for response in (original, small):
        again = api.get(response.url, headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert api.get("/v1/items/note/red").json()["kind"] == "text", "ids may hold slashes"
    assert error(api.get("/v1/items/note/red/thumbnail"))[:2] == (404, "not_found")
    assert error(api.get("/v1/items/nope"))[:2] == (404, "not_found")
    assert error(api.get("/v1/items/red.png/thumbnail", params={"size": "5000"}))[:2] == (422, "invalid")


def test_a_thumbnail_fits_into_its_side(tmp_path: Path, index: Index, api: TestClient) -> None:
    painted("red", "blue", size=(900, 300)).save(tmp_path / "wide.png")
    with Index.open(index.info()["path"], index.encoder, writable=True) as writer:
        writer.add(_folder_of(tmp_path / "wide.png"))
    wait_until(lambda: api.get("/v1/items/wide.png").status_code == 200)
    data = api.get("/v1/items/wide.png/thumbnail", params={"size": "320"}).content
    assert Image.open(BytesIO(data)).size == (320, 107)


def _folder_of(path: Path) -> Path:
    folder = path.parent / "more"
    folder.mkdir()
    path.rename(folder / path.name)
    return folder


@pytest.mark.parametrize("kind", ["HEIC", "TIFF", "JXL", "RAW", "AVIF"])
def test_formats_that_browsers_do_not_show_are_sent_as_jpeg(
    kind: str, tmp_path: Path, index: Index, api: TestClient
) -> None:
    picture = stored(corners(96, 64), 6)
    data = encoded(picture, kind, exif=exif(6)) if kind != "RAW" else b""
    if kind == "RAW":
        data = camera_raw(encoded(picture, "JPEG", quality=95), orientation=6)
    if kind == "TIFF":
        data = encoded(picture, kind, tiffinfo={274: 6})
    (tmp_path / "phone.jpg").write_bytes(data)
    with Index.open(index.info()["path"], index.encoder, writable=True) as writer:
        report = writer.add(_folder_of(tmp_path / "phone.jpg"))
    assert (report.indexed, report.failed) == (1, [])
    wait_until(lambda: api.get("/v1/items/phone.jpg").status_code == 200)
    assert api.get("/v1/items/phone.jpg").json()["width"] == 96
    original = api.get("/v1/items/phone.jpg/original")
    small = api.get("/v1/items/phone.jpg/thumbnail", params={"size": "160"})
    assert small.headers["content-type"] == "image/jpeg"
    if kind == "AVIF":
        assert (original.content, original.headers["content-type"]) == (data, "image/avif")
    else:
        assert original.headers["content-type"] == "image/jpeg"
    for answer in (original, small) if kind != "AVIF" else (small,):
        shown = np.asarray(Image.open(BytesIO(answer.content)), int)
        assert shown.shape == (64, 96, 3)
        for y, x, colour in ((16, 24, RED), (16, 72, GREEN), (48, 24, BLUE)):
            assert np.abs(shown[y, x] - colour).max() < 30


def test_a_picture_that_changed_is_not_shown(api: TestClient, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "red.png").write_bytes(png("blue"))
    assert error(api.get("/v1/items/red.png/original"))[:2] == (410, "changed")
    (tmp_path / "pictures" / "pink.png").unlink()
    assert error(api.get("/v1/items/pink.png/thumbnail"))[:2] == (410, "changed")


@pytest.mark.parametrize("width", [None, 8, 32])
def test_embeddings_are_those_of_the_encoder(api: TestClient, index: Index, width: int | None) -> None:
    body = {"input": ["red", {"image_base64": b64("blue")}, {"text": "pink"}], "dimensions": width}
    answer = api.post("/v1/embeddings", json=body).json()
    vectors = [entry["embedding"] for entry in answer["data"]]
    texts, pictures = index.encoder.encode_texts(["red", "pink"]), index.encoder.encode_images([png("blue")])
    wanted = [texts[width or 32][0], pictures[width or 32][0], texts[width or 32][1]]
    np.testing.assert_allclose(vectors, wanted, atol=1e-6)
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    coded = api.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()["data"]
    decoded = [np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in coded]
    np.testing.assert_array_equal(np.asarray(vectors, np.float32), decoded)


def test_embeddings_at_a_width_or_of_a_model_that_is_not_there(api: TestClient) -> None:
    status, code, message = error(api.post("/v1/embeddings", json={"input": "red", "dimensions": 100}))
    assert (status, code) == (400, "bad_query")
    assert message == "dimensions=100 is invalid: this model has the widths 8, 16, 32"
    assert error(api.post("/v1/embeddings", json={"input": "red", "model": "clip"}))[0] == 404


def test_statistics_tell_what_one_may_filter_by(api: TestClient) -> None:
    stats = api.get("/v1/stats").json()
    (colours,) = stats["indexes"]
    assert colours["items"] == 14
    assert colours["kinds"] == {"image": 12, "text": 2}
    assert colours["levels"] == [8, 16, 32]
    assert (colours["writable"], colours["tuned"], colours["probabilities"]) == (False, False, False)
    assert stats["needs_key"] is False


def test_several_indexes_in_one_service(index: Index, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = colour_index(tmp_path / "second", writable=True)
    second.delete(["red.png"])
    with client(index, second) as api:
        first = api.get("/v1/search", params={"q": "red", "kind": "image"}).json()
        other = api.get("/v1/search", params={"q": "red", "kind": "image", "index": "index2"}).json()
        assert (first["index"], first["hits"][0]["id"]) == ("colours", "red.png")
        assert other["index"] == "index2"
        assert "red.png" not in [hit["id"] for hit in other["hits"]]
        assert [one["name"] for one in api.get("/v1/stats").json()["indexes"]] == ["colours", "index2"]
        status, code, message = error(api.get("/v1/search", params={"q": "red", "index": "nope"}))
        assert (status, code) == (404, "not_found")
        assert "it has colours, index2" in message


def test_an_index_that_grew_is_taken_up(index: Index) -> None:
    with client(colour_index_again(index), refresh_s=0.05) as api:
        assert api.get("/v1/items/late").status_code == 404
        with Index.open(index.info()["path"], index.encoder, writable=True) as writer:
            writer.add_texts(["a late brown thing"], ids=["late"])
        wait_until(lambda: api.get("/v1/stats").json()["indexes"][0]["items"] == 15)
        found = api.get("/v1/search", params={"q": "brown", "kind": "text", "k": 1}).json()
        assert found["hits"][0]["id"] == "late"


def test_metrics_count_and_time(api: TestClient) -> None:
    api.get("/v1/search", params={"q": "red"})
    api.get("/v1/search", params={"q": ""})
    text = api.get("/metrics").text
    assert 'hivlp_requests_total{route="/v1/search",status="200"} 1.0' in text
    assert 'hivlp_requests_total{route="/v1/search",status="400"} 1.0' in text
    assert 'hivlp_stage_seconds_count{stage="encode"}' in text
    assert 'hivlp_items{index="colours"} 14.0' in text
    assert "hivlp_errors_total 0.0" in text


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/v1/search?q=red", "/v1/items/red.png", "/v1/openapi.json"]
)
def test_head_is_get_without_its_body(api: TestClient, path: str) -> None:
    get, head = api.get(path), api.head(path)
    assert get.status_code == head.status_code == 200
    assert set(head.headers) == set(get.headers)
    assert head.headers["content-type"] == get.headers["content-type"]


def test_health_is_told_without_a_key(index: Index) -> None:
    with client(index, keys=["a-key-of-enough-letters"]) as api:
        assert api.get("/healthz").json() == {"status": "ok"}
        assert api.get("/readyz").json() == {"status": "ready"}
        assert api.get("/").status_code == 200
        assert error(api.get("/metrics"))[:2] == (401, "no_key")


class TestWriting:
    """Adding and deleting."""

    @pytest.fixture
    def api(self, tmp_path: Path) -> Iterator[TestClient]:
        with client(colour_index(tmp_path, writable=True), writable=True) as opened:
            yield opened

    def test_is_off_unless_asked_for(self, index: Index) -> None:
        with client(index) as api:
            assert error(api.post("/v1/items", json={"items": [{"text": "x"}]}))[:2] == (403, "read_only")
            assert error(api.delete("/v1/items/red.png"))[:2] == (403, "read_only")

    def test_a_picture_that_is_sent_is_found_shown_and_deleted(self, api: TestClient, tmp_path: Path) -> None:
        fields = {"id": "flag", "caption": "a flag", "meta": json.dumps({"country": "none"})}
        added = api.post("/v1/items", files={"image": png("red", "white")}, data=fields).json()
        assert added == {"ids": ["flag"], "indexed": 1, "replaced": 0, "skipped": 0, "failed": []}
        found = api.get("/v1/search", params={"q": "red and white", "where": "country = 'none'"}).json()
        assert [hit["id"] for hit in found["hits"]] == ["flag"]
        assert api.get("/v1/items/flag/original").content == png("red", "white")
        (kept,) = (tmp_path / "colours.hivlp" / "uploads").iterdir()
        assert api.delete("/v1/items/flag").json() == {"deleted": 1, "unknown": []}
        assert not kept.exists()
        assert error(api.get("/v1/items/flag"))[0] == 404
        assert error(api.delete("/v1/items/flag"))[:2] == (404, "not_found")

    def test_a_picture_that_was_sent_moves_with_its_index(self, tmp_path: Path) -> None:
        with client(colour_index(tmp_path, writable=True), writable=True) as api:
            api.post("/v1/items", json={"items": [{"id": "sent", "image_base64": b64("red", "blue")}]})
        (tmp_path / "elsewhere").mkdir()
        moved = (tmp_path / "colours.hivlp").rename(tmp_path / "elsewhere" / "colours.hivlp")
        with client(Index.open(moved, ColourEncoder(), writable=True), writable=True) as api:
            assert api.get("/v1/items/sent/original").content == png("red", "blue")
            api.delete("/v1/items/sent")
            assert list((moved / "uploads").iterdir()) == []

    def test_a_picture_of_two_items_stays_while_one_is_left(self, api: TestClient) -> None:
        for name in ("one", "two"):
            api.post("/v1/items", json={"items": [{"id": name, "image_base64": b64("red", "blue")}]})
        api.delete("/v1/items/one")
        assert api.get("/v1/items/two/original").content == png("red", "blue")

    def test_several_at_once_and_one_bad(self, api: TestClient) -> None:
        items = [
            {"image_base64": b64("red", "cyan"), "id": "good"},
            {"image_base64": base64.b64encode(b"GIF89a nothing").decode(), "id": "bad"},
            {"text": "a pink note", "meta": {"page": 1}},
        ]
        added = api.post("/v1/items", json={"items": items}).json()
        assert added["indexed"] == 2
        assert [failure["uri"] for failure in added["failed"]] == ["bad"]
        assert added["ids"][0] == "good"
        assert api.get(f"/v1/items/{added['ids'][1]}").json()["caption"] == "a pink note"
        again = api.post("/v1/items", json={"items": [items[2]]}).json()
        assert (again["indexed"], again["skipped"], again["ids"]) == (0, 1, added["ids"][1:])

    def test_deleting_several_names_the_unknown(self, api: TestClient) -> None:
        body = {"ids": ["red.png", "nope", "pink.png"]}
        assert api.request("DELETE", "/v1/items", json=body).json() == {"deleted": 2, "unknown": ["nope"]}

    @pytest.mark.parametrize(
        ("item", "words"),
        [
            ({}, "give exactly one of image_base64, text"),
            ({"text": "a", "image_base64": "aaaa"}, "give exactly one of image_base64, text"),
            ({"text": "a", "caption": "b"}, "a text is its own caption"),
        ],
    )
    def test_what_can_not_be_added(self, api: TestClient, item: dict[str, Any], words: str) -> None:
        status, code, message = error(api.post("/v1/items", json={"items": [item]}))
        assert (status, code) == (422, "invalid")
        assert words in message


def test_an_upload_and_its_new_folder_are_on_the_disk_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = list[tuple[str, int]]()
    fsync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        fsync(handle)
        events.append(("synced", os.fstat(handle).st_ino))

    def replaced(old: Any, new: Any) -> None:
        rename(old, new)
        events.append(("placed", Path(new).parent.stat().st_ino))

    with colour_index(tmp_path, writable=True) as index, client(index, writable=True) as api:
        folder = Path(index.info()["path"])
        assert not (folder / "uploads").exists()
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", replaced)
        api.post("/v1/items", json={"items": [{"image_base64": b64("red", "white")}]}).raise_for_status()
        uploads = (folder / "uploads").stat().st_ino
        placed = events.index(("placed", uploads))
        assert ("synced", folder.stat().st_ino) in events[:placed]
        assert ("synced", uploads) in events[placed:]
