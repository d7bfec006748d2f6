"""Packs and reinforced sets: made once, found again, resumed after a kill, honest about what they lack."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hivlp import scenes
from hivlp.config import Preprocessing
from hivlp.data.images import load_pixels
from hivlp.data.sources import open_source
from hivlp.errors import ConfigError, DataError
from hivlp.train import resumable_array as stored_module
from hivlp.train.batches.pack import pack
from hivlp.train.teachers.features import view_boxes, views_with_features
from micro import micro_run


class FakeTower:
    """Sees the mean colour of a crop, and counts how often it was asked."""

    def __init__(self) -> None:
        self.size, self.width, self.key, self.asked = 16, 3, "fake", 0

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
    whole = views_with_features(source, packed, FakeTower(), **options)
    expected = np.array(whole.features_NVD)
    assert expected.shape == (7, 3, 3)
    # what a kill leaves: four rows saved, the others never written
    state = next(packed.folder.glob("teacher-*.json"))
    state.write_text(json.dumps({"done": 4}))
    features = np.memmap(state.with_suffix(".f16"), np.float16, "r+", shape=(7, 3, 3))
    features[4:] = 0
    features.flush()
    tower = FakeTower()
    assert np.array_equal(views_with_features(source, packed, tower, **options).features_NVD, expected)
    assert tower.asked == 3 * 3
    idle = FakeTower()
    assert np.array_equal(views_with_features(source, packed, idle, **options).features_NVD, expected)
    assert idle.asked == 0


def test_wishes_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="a source has views, and nothing uses them"):
        micro_run(sources=[{"spec": "scenes:8", "views": 1}])
    with pytest.raises(ConfigError, match="has crop=false and views=3; set crop=true"):
        micro_run(sources=[{"spec": "scenes:8", "views": 3, "crop": False}], lock_image=True)


def test_whole_frames_of_the_right_size_come_from_the_pack(tmp_path):
    """The slow twin: the same frames, cut from the originals beside other views."""
    source = open_source(gallery(tmp_path))
    tower = FakeTower()
    packed = pack(source, tmp_path / "packs", size=tower.size, key="gallery")
    from_originals = views_with_features(source, packed, tower, views=2, min_area=0.4).features_NVD[:, :1]
    (tmp_path / "0.jpg").unlink()  # not needed any more
    from_pack = views_with_features(source, packed, tower, views=1, min_area=0.4).features_NVD
    assert np.array_equal(from_pack, from_originals)
