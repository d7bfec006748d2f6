"""Packs and reinforced sets: made once, found again, resumed after a kill, honest about what they lack."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hivlp.config import Preprocessing
from hivlp.data import scenes
from hivlp.data.images import load_pixels
from hivlp.data.pack import pack
from hivlp.data.sources import open_source
from hivlp.errors import ConfigError, DataError, ModelError
from hivlp.registry import TABLES
from hivlp.train import stored as stored_module
from hivlp.train.reinforce import reinforce, view_boxes
from hivlp.train.run import run
from hivlp.train.teacher import TfliteTeacher
from micro import micro_run


class FakeTeacher:
    """Sees the mean colour of a crop, and counts how often it was asked."""

    def __init__(self, path: Path = Path("none"), *, tensor: int = 0, size: int = 16, cells: int = 0) -> None:
        self.size, self.width, self.key, self.asked = size, 3, "fake", 0

    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.asked += len(pixels_VCHW)
        return (pixels_VCHW.mean(axis=(2, 3)) / 255).astype(np.float16)


def gallery(folder: Path, count: int = 7) -> Path:
    for number, sample in enumerate(scenes.samples(count, size=48)):
        (folder / f"{number}.jpg").write_bytes(sample.read())
        (folder / f"{number}.txt").write_text(sample.captions[0])
    return folder


def test_a_pack_holds_what_the_source_gives_and_lists_the_rest(tmp_path):
    (gallery(tmp_path) / "bad.jpg").write_bytes(b"no picture")
    packed = pack(open_source(tmp_path), tmp_path / "packs", size=24, key="gallery")
    assert len(packed) == 7
    assert packed.pixels_NCHW.shape == (7, 3, 24, 24)
    assert [Path(failure.uri).name for failure in packed.failures] == ["bad.jpg"]
    preprocessing = Preprocessing(size=24, interpolation="bicubic")
    for row, name in enumerate(packed.ids):
        assert np.array_equal(packed.pixels_NCHW[row], load_pixels(tmp_path / name, preprocessing))
        assert packed.captions[row] == ((tmp_path / name).with_suffix(".txt").read_text(),)


def test_a_finished_pack_is_found_again_and_an_unfinished_one_made_anew(tmp_path):
    first = pack(open_source(gallery(tmp_path)), tmp_path / "packs", size=24, key="gallery")
    pixels = np.array(first.pixels_NCHW)
    (tmp_path / "0.jpg").unlink()
    assert len(pack(open_source(tmp_path), tmp_path / "packs", size=24, key="gallery")) == 7
    # what a kill leaves: pixels without the manifest that is written last
    (first.folder / "manifest.json").unlink()
    again = pack(open_source(tmp_path), tmp_path / "packs", size=24, key="gallery")
    assert np.array_equal(again.pixels_NCHW, pixels[1:])


def test_a_source_without_a_readable_picture_is_refused(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"not one picture could be read; the first problem: .*bad.jpg"):
        pack(open_source(tmp_path), tmp_path / "packs", size=24, key="bad")


def test_views_start_with_the_whole_frame_and_stay_inside_it():
    boxes = view_boxes(200, views=4, min_area=0.3, seed=0)
    assert (boxes[:, 0] == [0, 0, 1, 1]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 1 + 1e-6
    sides = boxes[..., 2:] - boxes[..., :2]
    assert (sides.prod(axis=-1) >= 0.3 * 0.74).all()  # a long crop is cut at the frame
    assert np.array_equal(boxes, view_boxes(200, views=4, min_area=0.3, seed=0))


def test_a_reinforced_set_is_resumed_where_it_stopped(tmp_path, monkeypatch):
    source = open_source(gallery(tmp_path))
    packed = pack(source, tmp_path / "packs", size=24, key="gallery")
    monkeypatch.setattr(stored_module, "SAVE_EVERY", 2)
    options = {"views": 3, "min_area": 0.4}
    whole = reinforce(source, packed, FakeTeacher(), **options)
    expected = np.array(whole.features_NVD)
    assert expected.shape == (7, 3, 3)
    # what a kill leaves: four rows saved, the others never written
    state = next(packed.folder.glob("teacher-*.json"))
    state.write_text(json.dumps({"done": 4}))
    features = np.memmap(state.with_suffix(".f16"), np.float16, "r+", shape=(7, 3, 3))
    features[4:] = 0
    features.flush()
    teacher = FakeTeacher()
    assert np.array_equal(reinforce(source, packed, teacher, **options).features_NVD, expected)
    assert teacher.asked == 3 * 3
    idle = FakeTeacher()
    assert np.array_equal(reinforce(source, packed, idle, **options).features_NVD, expected)
    assert idle.asked == 0


def test_a_teacher_guides_a_run(tmp_path, monkeypatch):
    """The student learns to answer like the teacher's head, also on pictures without captions."""
    monkeypatch.setitem(TABLES["teachers"], "fake", "test_pack:FakeTeacher")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for caption in gallery(folder, 24).glob("1*.txt"):
        caption.unlink()
    config = micro_run(
        sources=[{"spec": str(folder), "views": 2}, {"spec": "scenes:24?size=32", "crop": False}],
        teacher={"kind": "fake", "path": "none", "tensor": 0, "size": 16},
        objective={"guide": 1.0, "imitate": 2.0, "feature": 1.0, "consistency": 0.1},
        steps=40,
        optimisation={"learning_rate": 5e-3, "warmup_steps": 2},
        log_every=5,
    )
    run(config, out=tmp_path / "r")
    log = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    for name in ("guide", "imitate", "feature"):
        assert log[-1][name] < 0.9 * log[0][name], name
    shipped = (tmp_path / "r" / "model" / "model.safetensors").read_bytes()
    assert b"guide" not in shipped


def test_wishes_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="asks for teacher views and there is no teacher"):
        micro_run(sources=[{"spec": "scenes:8", "views": 1}])
    with pytest.raises(ConfigError, match="is not to be cropped and asks for 3 teacher views"):
        teacher = {"path": "none", "tensor": 0}
        micro_run(sources=[{"spec": "scenes:8", "views": 3, "crop": False}], teacher=teacher)


def test_a_missing_teacher_is_named(tmp_path):
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ModelError, match=r"the teacher .*none.tflite is not there; set teacher.path"):
        TfliteTeacher(tmp_path / "none.tflite", tensor=0, size=224)


def test_whole_frames_of_the_right_size_come_from_the_pack(tmp_path):
    """The slow twin: the same frames, cut from the originals beside other views."""
    source = open_source(gallery(tmp_path))
    teacher = FakeTeacher()
    packed = pack(source, tmp_path / "packs", size=teacher.size, key="gallery")
    from_originals = reinforce(source, packed, teacher, views=2, min_area=0.4).features_NVD[:, :1]
    (tmp_path / "0.jpg").unlink()  # not needed any more
    from_pack = reinforce(source, packed, teacher, views=1, min_area=0.4).features_NVD
    assert np.array_equal(from_pack, from_originals)
