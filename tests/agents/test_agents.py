"""The tools of a language model: in this process, and by the command as a client starts it."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

pytest.importorskip("mcp", reason="the tools of language models are not tested without the package mcp")

from mcp import Client, StdioServerParameters

from fakes import ColourEncoder, painted
from hivlp.agents import agent_server
from hivlp.retriever import Index


@pytest.fixture
def index(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    folder = tmp_path / "album"
    for number, name in enumerate(["2021/red", "2021/blue", "2022/green"]):
        picture = painted(name.split("/")[1], size=(2_000, 1_000))
        exif = picture.getexif()
        exif.get_ifd(0x8769)[0x9003] = f"{name[:4]}:06:0{number + 1} 10:00:00"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{name}.jpg", exif=exif)
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        index.add(folder)
        index.add_texts(["a red thing"], ids=["words"])
        yield index


@pytest.fixture
def call(index: Index) -> Callable[..., Any]:
    """Calls a tool as a client does."""

    def call(name: str, **arguments: Any) -> Any:
        async def run() -> Any:
            async with Client(agent_server(index)) as client:
                return await client.call_tool(name, arguments)

        return anyio.run(run)

    return call


def answer(result: Any) -> Any:
    assert not result.is_error, result.content
    return result.structured_content["result"]


def test_the_tools_only_read_and_say_what_they_do(index: Index) -> None:
    async def run() -> Any:
        async with Client(agent_server(index, name="album")) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(run)}
    assert set(tools) == {"facts", "search", "more_like", "look"}
    for tool in tools.values():
        assert tool.description and tool.annotations.read_only_hint
    described = tools["search"].input_schema["properties"]
    assert all("description" in described[name] for name in described)


def test_search_finds_what_the_library_finds(call: Callable[..., Any], index: Index) -> None:
    found = answer(call("search", words="red", k=2))
    assert [hit["id"] for hit in found] == [hit.id for hit in index.search("red", k=2, group=True)]
    assert found[0] | {"id": "2021/red.jpg", "taken_at": "2021-06-01T10:00:00"} == found[0]
    assert [hit["id"] for hit in answer(call("search", words="red", folder="2022"))] == ["2022/green.jpg"]
    newest = answer(call("search", words="red", since="2021", newest_first=True))
    assert [hit["id"] for hit in newest] == ["2022/green.jpg", "2021/blue.jpg", "2021/red.jpg"]


def test_more_like_leaves_the_picture_out(call: Callable[..., Any]) -> None:
    assert "2021/red.jpg" not in {hit["id"] for hit in answer(call("more_like", item="2021/red.jpg"))}
    assert answer(call("more_like", item="2021/red.jpg", words="blue"))


def test_look_shows_a_small_picture_without_its_metadata(call: Callable[..., Any]) -> None:
    (content,) = call("look", item="2021/red.jpg").content
    with Image.open(BytesIO(base64.b64decode(content.data))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (1_024, 512))
        assert not shown.getexif()


def test_facts_name_what_can_be_filtered_by(call: Callable[..., Any]) -> None:
    facts = call("facts").structured_content
    assert facts["items"] == 4
    assert facts["folders"] == ["2021", "2022"]
    assert facts["fields"]["taken_at"] == {"type": "date", "min": "2021-06-01", "max": "2022-06-03"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("look", {"item": "none"}, "there is no item 'none'"),
        ("look", {"item": "words"}, "'words' is a text: a red thing"),
        ("search", {"words": "red", "since": "June"}, "since='June' is invalid: must be a date"),
        ("search", {"words": "red", "where": "colour ="}, "colour ="),
        ("search", {"words": "red", "k": 0}, "greater than or equal to 1"),
        ("search", {"words": ""}, "at least 1 character"),
        ("more_like", {"item": "none"}, "has no item 'none'"),
    ],
)
def test_what_is_wrong_is_told(
    call: Callable[..., Any], name: str, arguments: dict[str, Any], message: str
) -> None:
    result = call(name, **arguments)
    assert result.is_error
    assert message in result.content[0].text


def test_a_client_starts_the_command(tmp_path: Path) -> None:
    with Index.create(tmp_path / "x.hivlp") as index:
        index.add_texts(["a brown dog", "two boats at sea"], ids=["dog", "boats"])
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "hivlp", "mcp", str(tmp_path / "x.hivlp")]
    )

    async def run() -> Any:
        async with Client(command) as client:
            return await client.call_tool("search", {"words": "ships", "k": 1})

    (hit,) = answer(anyio.run(run))
    assert hit["id"] == "boats"
