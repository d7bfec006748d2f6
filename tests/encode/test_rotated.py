"""An index over a model of one width makes narrow levels itself: a rotation fitted to its first items."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fakes import COLOURS, ColourEncoder, gallery, png
from hivlp.config import Preprocessing
from hivlp.encode import rotated
from hivlp.encode.base import SquareInput
from hivlp.encode.heads import unit
from hivlp.encode.rotated import RotatedEncoder, with_levels
from hivlp.errors import IndexFolderError
from hivlp.retriever import Index, import_index
from hivlp.search.plan import Plan
from hivlp.types import Embeddings, Sample
from ran import Ran
from serve_tools import client

WIDE = 128


class WideEncoder(SquareInput):
    """The colours' vectors, turned at random into one level of 128 numbers."""

    def __init__(self, name: str = "wide", fingerprint: str = "wide-1") -> None:
        self.inner = ColourEncoder()
        self.name, self.fingerprint, self.widths = name, fingerprint, (WIDE,)
        self.preprocessing: Preprocessing = self.inner.preprocessing
        self.turn_DD = np.linalg.qr(np.random.default_rng(5).standard_normal((WIDE, WIDE)))[0][:32]

    def _wide(self, embeddings: Embeddings) -> Embeddings:
        return Embeddings({WIDE: unit((embeddings.fine @ self.turn_DD).astype(np.float32))})

    def encode_texts(self, texts: list[str]) -> Embeddings:
        return self._wide(self.inner.encode_texts(texts))

    def encode_pixels(self, pixels_BCHW: np.ndarray, /) -> Embeddings:
        return self._wide(self.inner.encode_pixels(pixels_BCHW))

    def cuts(self, text: str) -> bool:
        return self.inner.cuts(text)


def samples(*names: str) -> list[Sample]:
    return [Sample(id=name, uri=name, image=png(*name.split("-"))) for name in names]


MIXED = [f"{one}-{two}" for one in COLOURS for two in COLOURS if one < two]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.create(tmp_path / "photos.hivlp", WideEncoder())


def test_a_model_of_one_width_gets_levels_and_keeps_its_own(index: Index) -> None:
    index.add(samples(*MIXED))
    assert index.store.widths == (32, 64, WIDE)
    fine_ND = WideEncoder().encode_images([png(*name.split("-")) for name in MIXED]).fine
    stored = index.store.embeddings(MIXED)
    np.testing.assert_allclose(stored.fine, fine_ND, atol=1e-3)
    # the slow twin: a rotation from the textbook, and prefixes of what it makes
    _, directions_DD = np.linalg.eigh(fine_ND.T @ fine_ND)
    for width in (32, 64):
        narrow_ND = unit(fine_ND @ directions_DD[:, ::-1][:, :width])
        np.testing.assert_allclose(stored[width] @ stored[width].T, narrow_ND @ narrow_ND.T, atol=5e-3)


def test_queries_are_rotated_alike(index: Index) -> None:
    index.add(samples(*MIXED))
    for query in ("red", "blue green", "pink"):
        coarse = index.search(query, 5, plan=Plan(candidates=60, coarse_width=32))
        exact = index.search(query, 5, plan=Plan(candidates="all"))
        assert [hit.id for hit in coarse] == [hit.id for hit in exact]
        np.testing.assert_allclose([h.score for h in coarse], [h.score for h in exact], atol=1e-6)
        # the pictures fill at most 32 directions, so the narrow level is nearly the whole
        assert coarse[0].coarse_score == pytest.approx(coarse[0].score, abs=0.02)
    alike = index.search(png("blue", "red"), 1, plan=Plan(candidates=3, coarse_width=32))
    assert alike[0].id == "blue-red" and alike[0].coarse_score == pytest.approx(1, abs=2e-3)


def test_a_grown_and_reopened_index_keeps_its_first_rotation(tmp_path: Path, index: Index) -> None:
    index.add(samples(*MIXED[:20]))
    rotation = (tmp_path / "photos.hivlp" / "rotation.npz").read_bytes()
    before = index.store.embeddings(MIXED[:20])
    index.close()
    with Index.open(tmp_path / "photos.hivlp", WideEncoder(), writable=True) as again:
        again.add(samples(*MIXED))
        again.add_texts(["a red thing"])
        assert again.info()["rotation"] == {"kind": "pca", "width": 64, "fitted_on": 20}
        np.testing.assert_array_equal(again.store.embeddings(MIXED[:20])[32], before[32])
        expected = again.encoder.encode_images([png("red")])
        again.add(samples("red"))
        np.testing.assert_allclose(again.store.embeddings(["red"])[32], expected[32], atol=1e-3)
        assert again.store.verify() == []
    assert (tmp_path / "photos.hivlp" / "rotation.npz").read_bytes() == rotation


def test_the_rotation_is_fitted_to_the_first_items_only(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotated, "FITTED_ON", 12)
    report = index.add(samples(*MIXED), batch_size=5)
    assert (report.indexed, index.info()["rotation"]["fitted_on"]) == (len(MIXED), 15)
    assert len(index) == len(MIXED)
    assert index.info()["bytes"]["rotation.npz"] > 0


def test_a_reader_takes_up_a_rotation_that_is_fitted_later(tmp_path: Path, index: Index) -> None:
    with Index.open(tmp_path / "photos.hivlp", WideEncoder()) as reader:
        assert len(reader.search("red", 3)) == 0 and reader.info()["rotation"] is None
        index.add(samples(*MIXED))
        reader.refresh()
        plan = Plan(candidates=60, coarse_width=32)
        assert [h.id for h in reader.search("red", 3, plan=plan)] == [
            h.id for h in index.search("red", 3, plan=plan)
        ]


def test_texts_alone_fit_it_too_and_nothing_fits_nothing(index: Index, tmp_path: Path) -> None:
    index.add([Sample(id="bad", uri="bad", image=b"no picture")])
    assert index.info()["rotation"] is None
    index.add_texts([f"{name} thing" for name in COLOURS])
    assert index.info()["rotation"]["fitted_on"] == len(COLOURS)
    assert index.search("red thing", 1)[0].caption == "red thing"


def test_another_model_is_refused_and_a_lost_rotation_named(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "photos.hivlp"
    index.add(samples(*MIXED[:5]))
    index.close()
    with pytest.raises(IndexFolderError, match="vectors of two models can't be compared"):
        Index.open(folder, WideEncoder("other", "other-1"))
    (folder / "rotation.npz").write_bytes(b"broken")
    with pytest.raises(IndexFolderError, match=r"rotation\.npz is damaged"):
        Index.open(folder, WideEncoder())
    (folder / "rotation.npz").unlink()
    with pytest.raises(IndexFolderError, match=r"lacks the rotation .* restore rotation\.npz"):
        Index.open(folder, WideEncoder())


def test_an_exported_index_takes_its_rotation_along(index: Index, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    index.add(samples(*MIXED))
    index.export(tmp_path / "out")
    import_index(tmp_path / "out", tmp_path / "copy.hivlp")
    plan = Plan(candidates=60, coarse_width=32)
    with Index.open(tmp_path / "copy.hivlp", WideEncoder()) as copy:
        found = [(hit.id, hit.coarse_score) for hit in copy.search("red", 5, plan=plan)]
    assert found == [(hit.id, hit.coarse_score) for hit in index.search("red", 5, plan=plan)]


def test_models_with_levels_and_narrow_ones_stay_as_they_are(tmp_path: Path) -> None:
    several = ColourEncoder()
    assert with_levels(several, tmp_path) is several
    narrow = WideEncoder()
    narrow.widths = (48,)
    assert with_levels(narrow, tmp_path) is narrow
    assert isinstance(with_levels(WideEncoder(), tmp_path), RotatedEncoder)


def test_the_command_line_says_so(
    tmp_path: Path, hivlp: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivlp.retriever.models.load", lambda model, **how: WideEncoder(str(model)))
    photos, folder = gallery(tmp_path / "photos"), tmp_path / "photos.hivlp"
    assert hivlp("index", photos, "--out", folder, "--model", "wide").code == 0
    info = hivlp("info", folder, "--json").document
    assert info["rotation"] == {"kind": "pca", "width": 64, "fitted_on": 12}
    assert info["widths"] == [32, 64, 128] and info["model"]["name"] == "wide"
    assert hivlp("search", folder, "red", "--json").document["hits"][0]["id"] == "red.png"
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["model_fingerprint"] == "wide-1-pca"


def test_a_service_rotates_for_each_index_its_own_way(tmp_path: Path) -> None:
    half = len(MIXED) // 2
    indexes = {}
    for name, some in (("one", MIXED[:half]), ("two", MIXED[half:])):
        with Index.create(tmp_path / name, WideEncoder()) as made:
            made.add(samples(*some))
        indexes[name] = Index.open(tmp_path / name, WideEncoder())
    with client(indexes["one"], indexes["two"]) as api:
        for name, served in (("one", "colours"), ("two", "index2")):
            asked = {"q": "red blue", "index": served, "candidates": 12, "k": 5}
            answer = api.get("/v1/search", params=asked).json()["hits"]
            hits = indexes[name].search("red blue", 5, candidates=12)
            assert [hit["id"] for hit in answer] == [hit.id for hit in hits]
            assert [hit["coarse_rank"] for hit in answer] == [hit.coarse_rank for hit in hits]
            wanted = [hit.coarse_score for hit in hits]
            np.testing.assert_allclose([hit["coarse_score"] for hit in answer], wanted, atol=1e-5)
