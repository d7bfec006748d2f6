"""Pictures that mean harm, on disk and in requests: none breaks the service, none brings out another file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from fakes import painted, png
from hivlp.retriever import Index
from serve_process import Answer, Server, scenes

SECRET = b"the secret words"
GROWTH_MIB = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "secret.txt").write_bytes(SECRET)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    work = scenes(folder / "work.hivlp", count=len(SWAPS))
    with tarfile.open(folder / "shard.tar", "w") as tar:
        tar.add(work.parent / "work-pictures" / "0.png", "in-tar.png")
    with Index.open(work, writable=True) as index:
        index.add(folder / "shard.tar")
    indexes = scenes(folder / "quiet.hivlp"), work
    with Server("-m", "hivlp", "serve", *indexes, "--port", "0", "--writable") as server:
        at_first = server.memory()
        yield server
        assert server.memory() < at_first + GROWTH_MIB


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    yield
    server.check()


def truncated(path: Path, folder: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def linked(target: str) -> Callable[[Path, Path], None]:
    def swap(path: Path, folder: Path) -> None:
        path.unlink()
        path.symlink_to(folder / target)

    return swap


def fifo(path: Path, folder: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def into_folder(path: Path, folder: Path) -> None:
    path.unlink()
    path.mkdir()


SWAPS: dict[str, Callable[[Path, Path], object]] = {
    "gone": lambda path, folder: path.unlink(),
    "secret": lambda path, folder: path.write_bytes(SECRET),
    "empty": lambda path, folder: path.write_bytes(b""),
    "truncated": truncated,
    "another picture": lambda path, folder: path.write_bytes(png("red")),
    "link to a secret": linked("secret.txt"),
    "link to another picture": linked("quiet-pictures/0.png"),
    "link to nothing": linked("nowhere"),
    "link to a folder": linked("."),
    "link to zeros": linked("/dev/zero"),
    "link to itself": lambda path, folder: linked(str(path))(path, folder),
    "pipe": fifo,
    "folder": into_folder,
}


@pytest.mark.parametrize("name", list(SWAPS))
def test_what_took_a_picture_s_place_is_not_shown(server: Server, folder: Path, name: str) -> None:
    item = f"/v1/items/{list(SWAPS).index(name)}.png"
    assert server.ask("GET", f"{item}/original?index=work").status == 200
    SWAPS[name](folder / "work-pictures" / f"{list(SWAPS).index(name)}.png", folder)
    for part in ("original", "thumbnail"):
        answer = server.ask("GET", f"{item}/{part}?index=work")
        assert (answer.status, answer.code()) == (410, "changed")
        assert SECRET not in answer.body
    assert server.ask("GET", f"{item}?index=work").status == 200
    assert server.ask("GET", f"/v1/search?item={item.rpartition('/')[2]}&index=work").status == 200


def test_a_pipe_in_the_place_of_an_archive_is_not_waited_for(server: Server, folder: Path) -> None:
    hits = json.loads(server.ask("GET", "/v1/search?q=boat&k=1000&index=work").body)["hits"]
    (name,) = [hit["id"] for hit in hits if ".tar" in hit["uri"]]
    item = f"/v1/items/{name.replace('/', '%2F').replace('#', '%23')}"
    assert server.ask("GET", f"{item}/original?index=work").headers["content-type"] == "image/png"
    fifo(folder / "shard.tar", folder)
    for _ in range(3):  # more often than there are threads to wait
        assert server.ask("GET", f"{item}/original?index=work").code() == "changed"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *more: bytes, data: bytes = b"\0" * 100) -> bytes:
    """A PNG that says it is that large."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + end


def tiff_of(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value & 0xFFFFFFFF) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4


def webp_of(width: int, height: int) -> bytes:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + size


def saved(image: Image.Image, kind: str, **how: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def scans(count: int) -> bytes:
    """A JPEG whose last scan is repeated: a few bytes for each pass over all pixels."""
    whole = saved(Image.new("RGB", (2_000, 2_000)), "JPEG", progressive=True)
    begin, end = whole.rfind(b"\xff\xda"), whole.rfind(b"\xff\xd9")
    return whole[:end] + whole[begin:end] * count + whole[end:]


PHOTO = saved(painted("red", "blue"), "JPEG")
SCRIPT = b"<script>alert(1)</script>"
BAD: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a letter": lambda: b"a",
    "PNG of 50,000 × 50,000": lambda: png_of(50_000, 50_000),
    "PNG of 2**31 × 2**31": lambda: png_of(2**31 - 1, 2**31 - 1),
    "PNG without pixels": lambda: png_of(0, 0),
    "PNG with too much text": lambda: png_of(
        8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    ),
    "PNG with too little data": lambda: png_of(100, 100),
    "GIF of 65,535 × 65,535": lambda: b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b";",
    "GIF with a huge frame": lambda: (
        (
            b"GIF89a"
            + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
        )
        + b"\2\0;"
    ),
    "WebP of 16,384 × 16,384": lambda: webp_of(16_384, 16_384),
    "TIFF of 50,000 × 50,000": lambda: tiff_of(50_000, 50_000),
    "BMP of 50,000 × 50,000": lambda: (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "JPEG of 65,500 × 65,500": lambda: PHOTO.replace(
        struct.pack(">BHH", 8, 24, 24), struct.pack(">BHH", 8, 65_500, 65_500)
    ),
    "JPEG of 100,000 scans": lambda: scans(100_000),
    "truncated JPEG": lambda: PHOTO[: len(PHOTO) // 2],
    "truncated PNG": lambda: png("red", "blue")[:60],
    "head of a JPEG": lambda: PHOTO[:20],
    "ZIP": lambda: b"PK\3\4" + b"\0" * 100,
    "gzip": lambda: b"\x1f\x8b\x08" + zlib.compress(bytes(1_000_000)),
    "PDF": lambda: b"%PDF-1.4\n1 0 obj <</OpenAction <</S /JavaScript /JS (app.alert(1))>>>>",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>",
    "HTML": lambda: b"<!doctype html>" + SCRIPT,
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n(/etc/passwd) (r) file",
    "MVG": lambda: b"push graphic-context\nimage over 0,0 0,0 '/etc/passwd'\npop graphic-context",
}


def send(server: Server, path: str, data: bytes, **more: str) -> Answer:
    return server.ask("POST", path, files={"image": ("../../x.html", data, "text/html")}, data=more)


@pytest.mark.parametrize("name", list(BAD))
def test_a_picture_that_is_none_is_refused(server: Server, name: str) -> None:
    data = BAD[name]()
    assert len(data) < 10_000_000
    answer = send(server, "/v1/search", data)
    assert (answer.status, answer.code()) == (422, "bad_image")
    body = json.dumps({"image_base64": base64.b64encode(data).decode()})
    answer = server.ask("POST", "/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.code()) == (422, "bad_image")
    answer = send(server, "/v1/items", data, index="work", id=f"bad/{name}")
    failed = json.loads(answer.body)["failed"]
    assert (answer.status, len(failed)) == (200, 1), "it is listed, and nothing else"
    assert server.ask("GET", f"/v1/items/bad%2F{name}?index=work").code() == "not_found"


ODD: dict[str, Callable[[], bytes]] = {
    "1×1": lambda: saved(Image.new("RGB", (1, 1)), "PNG"),
    "1×5,000": lambda: saved(Image.new("RGB", (1, 5_000)), "PNG"),
    "CMYK": lambda: saved(painted("red").convert("CMYK"), "JPEG"),
    "16 bits": lambda: saved(Image.new("I;16", (9, 9), 40_000), "PNG"),
    "1 bit": lambda: saved(Image.new("1", (9, 9)), "PNG"),
    "palette": lambda: saved(painted("red", "blue").convert("P"), "GIF"),
    "transparent": lambda: saved(Image.new("RGBA", (9, 9), (1, 2, 3, 0)), "WEBP"),
    "animated": lambda: saved(
        painted("red"), "GIF", save_all=True, append_images=[painted("blue")] * 50, duration=1
    ),
    "float": lambda: saved(Image.new("F", (9, 9), float("nan")), "TIFF"),
    "progressive": lambda: saved(painted("red"), "JPEG", progressive=True),
    "corrupt EXIF": lambda: saved(painted("red"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "JPEG and HTML": lambda: PHOTO + b"<!doctype html>" + SCRIPT,
    "GIF and JavaScript": lambda: (
        saved(painted("red"), "GIF", comment=b"*/=1;alert(1);/*") + b"*/=1;alert(1)//"
    ),
    "PNG and HTML": lambda: png_of(9, 9, chunk(b"tEXt", b"a\0<!doctype html>" + SCRIPT), data=b"\0" * 9 * 28),
    "JPEG and ZIP": lambda: PHOTO + b"PK\3\4" + b"PK\5\6" + b"\0" * 18,
    "BMP that begins like JavaScript": lambda: saved(painted("red"), "BMP") + SCRIPT,
}


@pytest.mark.parametrize("name", list(ODD))
def test_an_odd_picture_is_a_picture_and_nothing_else(server: Server, name: str) -> None:
    data = ODD[name]()
    assert send(server, "/v1/search", data, index="quiet").status == 200
    added = send(server, "/v1/items", data, index="work", id=f"odd/{name}")
    assert json.loads(added.body)["failed"] == []
    item = f"/v1/items/odd%2F{name}"
    original = server.ask("GET", f"{item}/original?index=work")
    if original.headers["content-type"] == "image/jpeg" and data[:2] != b"\xff\xd8":
        assert Image.open(BytesIO(original.body)).format == "JPEG", "browsers don't show a TIFF"
    else:
        assert original.body == data
    thumbnail = server.ask("GET", f"{item}/thumbnail?index=work&size=160")
    assert SCRIPT not in thumbnail.body and b"alert" not in thumbnail.body
    assert thumbnail.headers["content-type"] == "image/jpeg"
    kinds = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp")
    assert original.headers["content-type"] in kinds
    for answer in (original, thumbnail):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert server.ask("DELETE", f"{item}?index=work").status == 200


@pytest.mark.parametrize(
    ("kind", "colour"), [("link to a secret", "blue"), ("pipe", "pink"), ("secret", "cyan")]
)
def test_what_lies_in_wait_for_an_upload_is_not_taken_for_it(
    server: Server, folder: Path, kind: str, colour: str
) -> None:
    data = png("red", colour)
    path = folder / "work.hivlp" / "uploads" / f"{hashlib.sha256(data).hexdigest()}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    SWAPS[kind](path, folder)
    added = send(server, "/v1/items", data, index="work", id=f"waited/{colour}")
    assert json.loads(added.body)["failed"] == []
    item = f"/v1/items/waited%2F{colour}"
    assert server.ask("GET", f"{item}/original?index=work").body == data
    SWAPS[kind](path, folder)
    assert server.ask("DELETE", f"{item}?index=work").status == 200
    assert not os.path.lexists(path)
    assert (folder / "secret.txt").read_bytes() == SECRET
