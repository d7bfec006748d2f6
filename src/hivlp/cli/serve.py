"""``hivlp serve``: a search page and an HTTP API over one or several indexes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.errors import ConfigError, MissingExtraError

HostOption = Annotated[
    str, typer.Option(help="Address to listen on; only this machine can reach the default.")
]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, metavar="NUMBER", help="Port; 0 takes a free one.")
]


_HOST = re.compile(r"[\w.-]+|\[[0-9a-fA-F:.]+\]")


def serve(
    indexes: Annotated[list[Path], typer.Argument(metavar="INDEX...", help="Index folders.")],
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    processes: Annotated[
        int,
        typer.Option(min=1, metavar="NUMBER", help="Number of worker processes."),
    ] = 1,
    writable: Annotated[
        bool, typer.Option("--writable", help="Allow requests to add and delete items.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Path of the model that made the indexes, if it has moved.")
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Requests per second allowed for each key or address; 0 for no limit.",
        ),
    ] = 0,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Allow pages of this origin to use the API; may be repeated."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Answer to this host name too, such as that of a reverse proxy; may be repeated.",
        ),
    ] = None,
    without_keys: Annotated[
        bool,
        typer.Option("--without-keys", help="Listen on a public address without API keys."),
    ] = False,
    debug: output.DebugOption = False,
) -> None:
    """Open a search page and an HTTP API. API keys are read from HIVLP_API_KEYS, separated by commas."""
    if missing := [path for path in indexes if not path.exists()]:
        raise ConfigError(
            f"{missing[0]} does not exist; make an index first: hivlp index ~/Pictures --out {missing[0]}"
        )
    _need_extra()
    from hivlp.serve import ServiceSettings, create_app
    from hivlp.serve.indexes import open_indexes
    from hivlp.serve.keys import ENVIRONMENT, read_keys
    from hivlp.serve.processes import ServiceSpec, check, run_processes
    from hivlp.serve.run import is_loopback, local_names, open_socket, run, url_of

    keys = read_keys(os.environ.get(ENVIRONMENT, ""))
    if not (keys or without_keys or is_loopback(host)):
        raise ConfigError(
            f"other machines can reach {host}, and no API key is set. Set {ENVIRONMENT} to one or several "
            "keys, or give --without-keys if a proxy in front of the service checks its users"
        )
    for origin in cors_origin or ():
        if not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ConfigError(
                f"--cors-origin {origin} is invalid: must be an origin such as https://shop.example"
            )
    for name in allowed_host or ():
        if not _HOST.fullmatch(name):
            raise ConfigError(
                f"--allowed-host {name} is invalid: must be a host name without scheme, port and path, such "
                "as photos.example.org"
            )
    own = () if keys or not is_loopback(host) else local_names(host)
    settings = ServiceSettings(
        keys=keys,
        hosts=(*(own or local_names(host)), *(name.lower() for name in allowed_host))
        if allowed_host
        else own,
        cors_origins=tuple(cors_origin or ()),
        writable=writable,
        rate_per_s=rate,
    )
    check(settings, processes)
    opened = open_indexes(indexes, model, writable=writable)
    items = sum(len(index) for index in opened.values())
    listener = open_socket(host, port)

    def started() -> None:
        output.say(f"serving {items:,} items at {url_of(listener)}  (Ctrl-C stops)")

    if processes == 1:
        run(create_app(opened, settings), listener, started=started)
        return
    for index in opened.values():  # they could be opened; each process opens them again
        index.close()
    opened.clear()
    run_processes(ServiceSpec(tuple(indexes), model, settings), processes, listener, started=started)


def _need_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "serve", "hivlp serve") from None
