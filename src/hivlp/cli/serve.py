"""``hivlp serve``: a search page and an HTTP API over one or several indexes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hivlp.cli import output
from hivlp.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from hivlp.encode import Encoder
    from hivlp.retriever import Index
    from hivlp.serve import Settings

HostOption = Annotated[
    str, typer.Option(help="The address to listen on; only this machine reaches the default.")
]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]


def serve(
    indexes: Annotated[
        list[Path], typer.Argument(metavar="INDEX...", help="Index folders, each by its name.")
    ],
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    writable: Annotated[bool, typer.Option("--writable", help="Let requests add and delete items.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Another place of the model that made the indexes.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Requests a second of one key or address; 0 for any.")
    ] = 0,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Let pages of this origin use the API; may be repeated.")
    ] = None,
    without_keys: Annotated[
        bool,
        typer.Option("--without-keys", help="Listen on a public address although there are no API keys."),
    ] = False,
    debug: output.DebugOption = False,
) -> None:
    """Open a search page and an HTTP API. Keys are read from HIVLP_API_KEYS, with commas between them."""
    if missing := [path for path in indexes if not path.exists()]:
        raise ConfigError(
            f"{missing[0]} does not exist; make an index first: hivlp index ~/Pictures --out {missing[0]}"
        )
    _need_extra()
    from hivlp.serve.keys import ENVIRONMENT, read_keys
    from hivlp.serve.run import is_loopback, local_names
    from hivlp.serve.settings import Settings

    keys = read_keys(os.environ.get(ENVIRONMENT, ""))
    if not (keys or without_keys or is_loopback(host)):
        raise ConfigError(
            f"{host} can be reached by others, and there is no API key. Set {ENVIRONMENT} to one or "
            "several keys, or say --without-keys if something before the service checks who asks"
        )
    for origin in cors_origin or ():
        if not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ConfigError(f"--cors-origin {origin} is no origin; write it like https://shop.example")
    settings = Settings(
        keys=keys,
        hosts=() if keys or not is_loopback(host) else local_names(host),
        cors_origins=tuple(cors_origin or ()),
        writable=writable,
        rate_per_s=rate,
    )
    run_service(opened(indexes, model, writable=writable), settings, host, port)


def run_service(indexes: dict[str, Index], settings: Settings, host: str, port: int) -> None:
    """Serves until it is stopped, and says where."""
    _need_extra()
    from hivlp.serve import create_app
    from hivlp.serve.run import open_socket, run, url_of

    listener = open_socket(host, port)
    items = sum(len(index) for index in indexes.values())

    def started() -> None:
        output.say(f"serving {items:,} items at {url_of(listener)}  (Ctrl-C stops)")

    run(create_app(indexes, settings), listener, started=started)


def opened(paths: list[Path], model: str | None, *, writable: bool) -> dict[str, Index]:
    """Indexes by their names; those of one model share its encoder."""
    from hivlp.encode.rotated import RotatedEncoder
    from hivlp.retriever import Index

    indexes: dict[str, Index] = {}
    encoders: dict[str, Encoder] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".hivlp")
        if name in indexes:
            raise ConfigError(f"two indexes have the name {name!r}; rename the folder of one, {path}")
        indexes[name] = index = Index.open(path, model, writable=writable)
        if not isinstance(index.encoder, RotatedEncoder):  # which belongs to its index
            index.encoder = encoders.setdefault(index.encoder.fingerprint, index.encoder)
    return indexes


def _need_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "serve", "hivlp serve") from None
