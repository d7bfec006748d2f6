"""Pages of hits and items, models, words as people type them, names of hosts, and errors in plain words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fakes import ColourEncoder, gallery, png
from hivlp.data.vocabulary import Spelling
from hivlp.retriever import Index
from hivlp.search.query import WORDS_BESIDE_IMAGE, Part
from hivlp.serve import ServiceSettings
from ran import Ran
from serve_tools import client, colour_index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with colour_index(tmp_path, writable=True) as opened:
        yield opened


@pytest.fixture
def api(index: Index) -> Iterator[TestClient]:
    with client(index, writable=True) as opened:
        yield opened


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    document = answer.json()
    return [one["id"] for one in document.get("hits", document.get("items"))]


def message(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


def test_pages_of_hits_follow_each_other(api: TestClient) -> None:
    whole = api.get("/v1/search", params={"q": "red", "k": 14}).json()["hits"]
    pages = [api.get("/v1/search", params={"q": "red", "k": 5, "offset": n}).json() for n in (0, 5, 10, 15)]
    assert [hit for page in pages for hit in page["hits"]] == whole
    assert pages[3]["notes"] == ["offset=15 leaves out all hits; there are 14"]
    body = {"query": "red", "k": 5, "offset": 5}
    assert api.post("/v1/search", json=body).json()["hits"] == whole[5:10]
    several = api.post("/v1/search", json={"queries": [{"query": "red"}], "k": 5, "offset": 5}).json()
    assert several["results"][0]["hits"] == whole[5:10]


def test_pages_end_at_the_most_hits_of_the_service(api: TestClient) -> None:
    assert api.get("/v1/search", params={"q": "red", "k": 10, "offset": 990}).status_code == 200
    beyond = api.get("/v1/search", params={"q": "red", "k": 10, "offset": 991})
    assert message(beyond, 400).startswith(
        "k=10 after offset=991 is invalid: this service gives at most 1,000"
    )
    assert (
        message(api.get("/v1/search", params={"q": "red", "offset": -1}), 422) == "offset: must be at least 0"
    )
    many = {"queries": [{"query": "red"}] * 60, "k": 10, "offset": 900}
    assert "60 queries with 910 hits each" in message(api.post("/v1/search", json=many), 413)


def test_all_items_page_by_page_newest_first(api: TestClient) -> None:
    seen, offset = list[str](), 0
    while offset is not None:
        answer = api.get("/v1/items", params={"limit": 5, "offset": offset})
        document = answer.json()
        assert (document["total"], document["offset"], document["index"]) == (14, offset, "colours")
        seen += ids(answer)
        offset = document["next_offset"]
    assert len(seen) == len(set(seen)) == 14
    assert seen[:2] == ["note/blue", "note/red"]
    assert set(api.get("/v1/items").json()["items"][0]) == set(api.get("/v1/items/red.png").json())


def test_items_that_pass_a_filter(api: TestClient, index: Index) -> None:
    assert ids(api.get("/v1/items", params={"kind": "text"})) == ["note/blue", "note/red"]
    assert ids(api.get("/v1/items", params={"where": "id like 're%'"})) == ["red.png"]
    assert ids(api.get("/v1/items", params={"where": "width > 9000"})) == []
    assert "captoin" in message(api.get("/v1/items", params={"where": "captoin = 'x'"}), 400)
    api.delete("/v1/items/note/blue")
    assert ids(api.get("/v1/items", params={"kind": "text"})) == ["note/red"]
    assert index.store.listed(limit=1).total == 13


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"limit": "0"}, "limit: must be at least 1"),
        ({"limit": "5000"}, "limit: must be at most 1000"),
        ({"offset": "-1"}, "offset: must be at least 0"),
        ({"ofset": "1"}, "ofset: is not known here; did you mean 'offset'?"),
        ({"kind": "video"}, "kind: must be 'image' or 'text'"),
    ],
)
def test_a_page_that_can_not_be(api: TestClient, parameters: dict[str, str], said: str) -> None:
    assert message(api.get("/v1/items", params=parameters), 422) == said


def test_a_page_past_the_end_is_empty(api: TestClient) -> None:
    document = api.get("/v1/items", params={"offset": 10**9}).json()
    assert (document["items"], document["total"], document["next_offset"]) == ([], 14, None)


def test_an_unknown_option_gets_the_nearest_one(api: TestClient) -> None:
    said = message(api.get("/v1/search", params={"q": "red", "kk": 3}), 422)
    assert said.startswith("kk: is not known here; did you mean 'k'?")
    said = message(api.get("/v1/search", params={"q": "red", "page": 2}), 422)
    assert said.startswith("page: is not known here; choose from") and "offset" in said
    assert "did you mean 'min_score'?" in message(
        api.post("/v1/search", json={"query": "a", "minscore": 1}), 422
    )


def test_words_are_read_as_by_the_library(api: TestClient, index: Index) -> None:
    for words in ("“red”!", "show me photos of red", "red -blue", "red without blue"):
        found = index.search(words, k=5).as_dict()
        asked = {"q": words, "k": 5}
        answer = api.get("/v1/search", params=asked).json()
        assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in found["hits"]]
        assert [hit["probability"] for hit in answer["hits"]] == [hit["probability"] for hit in found["hits"]]
        assert answer["notes"] == found["notes"]
        body = api.post("/v1/search", json={"query": words, "k": 5}).json()
        assert (body["hits"], body["notes"]) == (answer["hits"], answer["notes"])


def test_spelling_is_said_and_corrected_on_request(api: TestClient, index: Index) -> None:
    known = Spelling({"rde": "red"}, english=True)
    index.encoder.spelling = lambda text: known if "rde" in text else Spelling({})  # type: ignore[attr-defined]
    (note,) = api.get("/v1/search", params={"q": "rde", "k": 1}).json()["notes"]
    assert "did you mean 'red'?" in note
    answer = api.get("/v1/search", params={"q": "rde", "k": 1, "spell": "true"}).json()
    assert (answer["hits"][0]["id"], answer["notes"]) == ("red.png", ["searched for 'red' instead of 'rde'"])


def test_words_beside_a_picture_leave_it_the_greater_weight(api: TestClient, index: Index) -> None:
    mix = [
        Part(text="green", weight=WORDS_BESIDE_IMAGE),
        Part(image=png("red")),
        Part(text="blue", weight=-0.4),
    ]
    expected = [(hit.id, round(hit.score, 5)) for hit in index.search(mix, k=5)]
    answer = api.post("/v1/search", data={"q": "green -blue", "k": 5}, files={"image": png("red")}).json()
    assert [(hit["id"], round(hit["score"], 5)) for hit in answer["hits"]] == expected
    mix = [Part(text="green", weight=WORDS_BESIDE_IMAGE), Part(item="red.png")]
    expected = [(hit.id, round(hit.score, 5)) for hit in index.search(mix, k=5)]
    answer = api.get("/v1/search", params={"q": "green", "item": "red.png", "k": 5}).json()
    assert [(hit["id"], round(hit["score"], 5)) for hit in answer["hits"]] == expected


def test_models_as_openai_lists_them(api: TestClient) -> None:
    card = {"id": "colours", "object": "model", "created": 0, "owned_by": "hivlp", "dimensions": [8, 16, 32]}
    assert api.get("/v1/models").json() == {"object": "list", "data": [card]}
    assert api.get("/v1/models/colours").json() == card
    assert message(api.get("/v1/models/gpt-4"), 404) == "this service has no model 'gpt-4'; it has colours"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[64, 5679]], "token numbers are not understood, since every model has its own: send the texts"),
        ([64, 5679], "token numbers are not understood"),
        (64, "token numbers are not understood"),
        (None, "must be a text, an object with text or image_base64, or a list of these"),
        ([None], "must be a text, an object with text or image_base64, or a list of these"),
        ([True], "must be a text, an object with text or image_base64, or a list of these"),
        ({"txt": "red"}, "input.0.txt: is not known here"),
        ([{}], "give exactly one of text, image_base64"),
        (["red", {"text": 3}], "input.1.text: must be text"),
        (["x" * 20_001], "input.0.text: must have at most 20000 characters"),
    ],
)
def test_a_wrong_input_of_embeddings_is_said_in_plain_words(
    api: TestClient, given: object, said: str
) -> None:
    told = message(api.post("/v1/embeddings", json={"input": given}), 422)
    assert said in told
    for inside in ("EmbeddingInput", "union", "str:", "[", "valid", "pydantic"):
        assert inside not in told


@pytest.mark.parametrize("given", ["red", {"text": "red"}, ["red"], [{"text": "red"}, "blue"]])
def test_every_form_of_an_input_is_read(api: TestClient, given: Any) -> None:
    answer = api.post("/v1/embeddings", json={"input": given}).json()
    assert len(answer["data"]) == (len(given) if isinstance(given, list) else 1)
    assert len(answer["data"][0]["embedding"]) == 32


def serve_settings(
    monkeypatch: pytest.MonkeyPatch, hivlp: Callable[..., Ran], *arguments: object
) -> ServiceSettings | Ran:
    """The settings that the command line makes, without serving."""
    made = list[ServiceSettings]()

    def create_app(indexes: Any, settings: ServiceSettings) -> object:
        made.append(settings)
        return object()

    monkeypatch.setattr("hivlp.serve.create_app", create_app)
    monkeypatch.setattr("hivlp.serve.run.run", lambda app, listener, **options: listener.close())
    ran = hivlp("serve", *arguments, "--port", "0")
    return made[0] if made else ran


def test_names_of_a_proxy_are_allowed(
    tmp_path: Path, colours: ColourEncoder, monkeypatch: pytest.MonkeyPatch, hivlp: Callable[..., Ran]
) -> None:
    gallery(tmp_path / "pictures", "red")
    hivlp("index", tmp_path / "pictures", "--out", tmp_path / "x.hivlp")
    monkeypatch.delenv("HIVLP_API_KEYS", raising=False)

    def hosts(*arguments: str) -> tuple[str, ...]:
        made = serve_settings(monkeypatch, hivlp, tmp_path / "x.hivlp", *arguments)
        assert isinstance(made, ServiceSettings)
        return made.hosts

    local = hosts()
    assert "127.0.0.1" in local and "localhost" in local
    proxy = ("--allowed-host", "Photos.example.org", "--allowed-host", "example.net")
    assert hosts(*proxy) == hosts(*proxy, "--without-keys") == (*local, "photos.example.org", "example.net")
    assert hosts("--host", "0.0.0.0", "--without-keys") == ()
    assert {"photos.example.org", "127.0.0.1"} < set(hosts("--host", "0.0.0.0", "--without-keys", *proxy))
    monkeypatch.setenv("HIVLP_API_KEYS", "k" * 32)
    assert hosts() == ()
    assert "photos.example.org" in hosts(*proxy)
    for wrong in ("https://example.org", "example.org:80", "example.org/photos", ""):
        ran = serve_settings(monkeypatch, hivlp, tmp_path / "x.hivlp", "--allowed-host", wrong)
        assert isinstance(ran, Ran)
        assert (ran.code, "without scheme, port and path" in ran.err) == (2, True)


def test_a_foreign_name_is_told_the_remedy(index: Index) -> None:
    with client(index, hosts=["testserver", "photos.example.org"]) as api:
        for host in ("photos.example.org", "PHOTOS.example.org:443"):
            assert api.get("/v1/search?q=red", headers={"Host": host}).status_code == 200
        refused = api.get("/v1/search?q=red", headers={"Host": "evil.example"})
        assert "'evil.example'" in message(refused, 403)
        assert "--allowed-host" in message(refused, 403)


def test_the_listing_of_a_store_takes_what_the_service_gives() -> None:
    from hivlp.stores.base import Store
    from hivlp.stores.local import LocalStore

    assert inspect.signature(Store.listed) == inspect.signature(LocalStore.listed)
