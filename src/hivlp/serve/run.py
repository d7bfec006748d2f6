"""Runs a service on a socket; checks addresses and sets up the log."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from hivlp.errors import ConfigError
from hivlp.serve.protocol import Protocol

_BACKLOG = 1_024
_IDLE_S = 15
_STOP_S = 20
_HANGS_S = 30  # a process without a sign of life for this long is restarted


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_names(host: str) -> tuple[str, ...]:
    """Values of the header ``Host`` that a service on a loopback address answers to."""
    return tuple(dict.fromkeys(("127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host)))


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigError: the host or the port is not available; the message gives the remedy.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"can't listen on {host} port {port}: {reason}. Give another --port (0 takes a free one), or "
            "another --host"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """The address for a browser."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        str(host), str(host)
    )  # addresses to bind that a browser can't open
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, listener: socket.socket, *, started: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or Ctrl-C; running requests are answered first."""
    log_to_stderr()
    config = configured(app)
    started()
    uvicorn.Server(config).run(sockets=[listener])


def configured(app: FastAPI | Callable[[], FastAPI], processes: int | None = None) -> uvicorn.Config:
    """The configuration of uvicorn; with ``processes``, ``app`` is a factory of applications."""
    return uvicorn.Config(
        app,
        factory=processes is not None,
        workers=processes,
        http=Protocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,  # our own log does not name queries
        server_header=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_STOP_S,
        timeout_worker_healthcheck=_HANGS_S,
    )


def log_to_stderr() -> None:
    """Sends our log and the errors of the server to stderr; other loggers stay as they are."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("hivlp", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False
    logging.getLogger("hivlp").setLevel(logging.INFO)
