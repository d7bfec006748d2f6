"""What people hand over as images and texts: every form gives the same, and everything else a message."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hivlp
from fakes import painted, png
from hivlp.encode import Encoder, load
from hivlp.errors import DataError, HivlpError, ImageError, QueryError
from hivlp.inputs import as_image, as_images, as_texts
from hivlp.types import Sample

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return load("mini")


class Tensor:
    """What numpy can read without being numpy's."""

    ndim = 3

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return PIXELS


def encoded(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


FORMS: dict[str, Callable[[Path], Any]] = {
    "Path": lambda path: path,
    "str": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: BytesIO(path.read_bytes()),
    "open file": lambda path: path.open("rb"),
    "PIL": Image.open,
    "array": lambda path: PIXELS,
    "array of rows backwards": lambda path: np.flipud(np.flipud(PIXELS).copy()),
    "encoded bytes in an array": lambda path: np.frombuffer(path.read_bytes(), np.uint8),
    "tensor": lambda path: Tensor(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_image_in_every_form_gives_the_same_vector(mini: Encoder, tmp_path: Path, form: str) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encoded(PIXELS))
    wanted = mini.encode_images([path]).fine
    image = FORMS[form](path)
    assert np.allclose(mini.encode_images(image).fine, wanted, atol=1e-5)
    assert np.allclose(mini.encode_images([FORMS[form](path)] * 1).fine, wanted, atol=1e-5)
    stored = Sample(image=FORMS[form](path)).image
    assert isinstance(stored, (Path, bytes))
    assert np.allclose(mini.encode_images([stored]).fine, wanted, atol=1e-5)


def test_a_batch_array_and_a_generator_are_several_images(mini: Encoder) -> None:
    both_BHWC = np.stack([PIXELS, PIXELS[::-1]])
    wanted = mini.encode_images([PIXELS, PIXELS[::-1]]).fine
    assert np.allclose(mini.encode_images(both_BHWC).fine, wanted, atol=1e-5)
    assert np.allclose(mini.encode_images(image for image in both_BHWC).fine, wanted, atol=1e-5)
    assert len(mini.encode_images([])) == 0


@pytest.mark.parametrize("shape", [(24, 30), (24, 30, 1)])
def test_grey_arrays_are_images_of_equal_channels(shape: tuple[int, ...]) -> None:
    grey = np.arange(720, dtype=np.uint8).reshape(shape)
    image = as_image(grey)
    assert isinstance(image, Image.Image)
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), grey.reshape(24, 30))


def test_the_fourth_channel_is_transparency_over_white(mini: Encoder) -> None:
    clear = np.zeros((20, 20, 4), np.uint8)
    white = np.full((20, 20, 3), 255, np.uint8)
    assert np.allclose(mini.encode_images(clear).fine, mini.encode_images(white).fine, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "None is not an image: give a path, encoded bytes"),
        (5, r"5 \(int\) is not an image"),
        (["a.jpg"], "is not an image"),
        ("", "'' is an empty path"),
        ("https://example.org/a.jpg", "is an address, and nothing is fetched: save the image first"),
        (PIXELS / 255, "an array of float64 is not an image: must be uint8, from 0 to 255"),
        (PIXELS.astype(np.uint16), "an array of uint16 is not an image"),
        (PIXELS > 0, "an array of bool is not an image"),
        (PIXELS.transpose(2, 0, 1), r"\(3, 40, 50\) has its channels first.*transpose\(1, 2, 0\)"),
        (PIXELS[None], r"shape \(1, 40, 50, 3\) is not an image: must be \(height, width\)"),
        (np.zeros((8, 8, 2), np.uint8), "with 1, 3 or 4 channels"),
        (np.zeros((0, 8, 3), np.uint8), "has no pixels"),
        (StringIO("text"), "gave text, not bytes: open it in binary mode"),
        (BytesIO(), "gave 0 bytes: it is empty or stands at its end"),
    ],
)
def test_what_is_no_image_says_what_is_one(image: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        as_image(image)


def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    file = (tmp_path / "a.png").open("wb")
    file.close()
    with pytest.raises(ImageError, match="the file object can't be read"):
        as_image(file)


@pytest.mark.parametrize("images", [None, 5, {"a.jpg": 1}, {"a.jpg"}])
def test_what_is_no_collection_of_images_is_refused(images: Any) -> None:
    with pytest.raises(ImageError, match="is neither an image nor a list of images"):
        as_images(images)


def test_the_image_that_can_not_be_read_is_named(mini: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nope\.jpg: the file does not exist"):
        mini.encode_images("nope.jpg")
    with pytest.raises(ImageError, match=r"^image 2: .* is a text file"):
        mini.encode_images([PIXELS, b"not an image at all"])
    with pytest.raises(ImageError, match="image 2: 7 "):
        mini.encode_images([PIXELS, 7])


def test_pixels_of_another_shape_are_refused(mini: Encoder) -> None:
    with pytest.raises(ImageError, match=r"must be uint8 \(images, 3, 224, 224\).*encode_images takes"):
        mini.encode_pixels(PIXELS[None])


def test_one_text_is_one_row_and_not_its_letters(mini: Encoder) -> None:
    one = mini.encode_texts("a dog")
    assert len(one) == 1
    assert np.array_equal(one.fine, mini.encode_texts(["a dog"]).fine)
    assert len(mini.encode_texts(text for text in ("a", "b", "c"))) == 3
    assert len(mini.encode_texts([])) == 0


@pytest.mark.parametrize("texts", [None, 5, b"a dog", {"a dog": 1}, {"a dog"}])
def test_what_is_not_texts_is_refused(mini: Encoder, texts: Any) -> None:
    with pytest.raises(QueryError, match="is neither a text nor a list of texts"):
        mini.encode_texts(texts)


@pytest.mark.parametrize("text", [None, float("nan"), 3, b"dog"])
def test_the_text_that_is_none_is_named(mini: Encoder, text: Any) -> None:
    with pytest.raises(QueryError, match=r"text 2 is .*every text must be a str; leave out missing values"):
        mini.encode_texts(["a dog", text])


def test_lone_surrogates_are_replaced() -> None:
    assert as_texts(["a\ud800b", "plain"]) == ["a\ufffdb", "plain"]


def test_a_sample_needs_an_image_alone() -> None:
    sample = Sample(image="pictures/dog.jpg", captions="a dog")  # type: ignore[arg-type]
    assert sample.image == Path("pictures/dog.jpg")
    assert sample.id == "pictures/dog.jpg"
    assert sample.uri == str(Path("pictures/dog.jpg").absolute())
    assert sample.captions == ("a dog",)
    assert Sample(image="a.jpg", captions=["one", "two"]).captions == ("one", "two")  # type: ignore[arg-type]
    assert Sample(image=b"x").id == Sample(image=b"x").id != Sample(image=b"y").id
    assert Sample(captions=("a text",)).id.startswith("text-")
    named = Sample(id="7", image="dog.jpg")  # type: ignore[arg-type]
    assert named.id == "7"
    assert named.uri.endswith("dog.jpg")


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "HSV", "F", "I;16"]
)
def test_a_pil_image_of_every_mode_can_be_stored(mode: str) -> None:
    stored = Sample(image=Image.new(mode, (9, 7))).image  # type: ignore[arg-type]
    assert isinstance(stored, bytes)
    assert Image.open(BytesIO(stored)).size == (9, 7)


def test_a_stored_pil_image_is_upright() -> None:
    wide = painted("red", "blue", size=(30, 10))
    exif = wide.getexif()
    exif[0x0112] = 6
    buffer = BytesIO()
    wide.save(buffer, "JPEG", exif=exif)
    stored = Sample(image=Image.open(buffer)).image  # type: ignore[arg-type]
    assert isinstance(stored, bytes)
    assert Image.open(BytesIO(stored)).size == (10, 30)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sample(), "a sample needs an image or a caption: Sample"),
        (lambda: Sample(image=5), "is not an image"),  # type: ignore[arg-type]
        (lambda: Sample(image="a.jpg", captions=5), "captions=5 is invalid: must be a text or a list"),  # type: ignore[arg-type]
        (lambda: Sample(image="a.jpg", captions=[None]), "captions=.* is invalid"),  # type: ignore[arg-type]
        (lambda: Sample(id="x").read(), "the sample 'x' has no image"),
        (lambda: Sample(image=Image.open(BytesIO(png("red")[:60]))), "can't be read"),  # type: ignore[arg-type]
    ],
)
def test_a_sample_of_nothing_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        make()


def test_every_refusal_is_an_error_of_hivlp(mini: Encoder) -> None:
    embeddings = mini.encode_texts("a dog")
    with pytest.raises(HivlpError, match=r"^no level of width 7"):
        embeddings[7]
    with pytest.raises(HivlpError, match="is not a model: give a name"):
        hivlp.Index.create("never.hivlp", 5)  # type: ignore[arg-type]
