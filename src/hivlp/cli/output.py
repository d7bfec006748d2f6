"""What all commands share: common options, output, and the exit code of an error.

The promise: with ``--json`` the last line of stdout is one JSON document. Everything that is not the answer
(progress, warnings, errors) goes to stderr.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
import json as json_module
import os
import re
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from hivlp.errors import HivlpError, MissingExtraError, NothingUsableError
from hivlp.messages import counted, rule

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hivlp.encode import Encoder
    from hivlp.types import Progress

# packages that only training and exporting need
TRAIN_PACKAGES = frozenset(
    {"torch", "transformers", "huggingface_hub", "safetensors", "onnx", "onnxscript", "pyarrow"}
)
_REMEDIES: Mapping[type[OSError], str] = {
    FileNotFoundError: "check the path",
    PermissionError: "check its permissions",
    IsADirectoryError: "name a file",
}
OK, BUG, USER_ERROR, NOTHING_USED, INTERRUPTED = 0, 1, 2, 3, 130

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document as the last line of stdout.")
]
DebugOption: TypeAlias = Annotated[bool, typer.Option("--debug", help="On an error, print its traceback.")]


class Stopped(Exception):  # noqa: N818 - no failure: a person has stopped the command
    """An interrupted command says how far it came and how to go on."""


# Options of these types show a word for their value. Flags have none.
_METAVARS: Mapping[Any, str] = {bool: " ", int: "NUMBER", float: "NUMBER", Path: "PATH", str: "TEXT"}


def with_metavars(command: Callable[..., None]) -> Callable[..., None]:
    """The command, whose options show ``NUMBER`` and so on in the help where they name nothing else."""
    command.__annotations__ = get_type_hints(command, include_extras=True)
    for annotation in command.__annotations__.values():
        kind, *declared = get_args(annotation) or (annotation,)
        if declared and isinstance(declared[0], OptionInfo) and declared[0].metavar is None:
            parts = [part for part in (kind, *get_args(kind)) for part in (part, *get_args(part))]
            declared[0].metavar = next((_METAVARS[part] for part in parts if part in _METAVARS), None)
    return command


def epilog(*examples: str) -> str:
    """The end of a command's help: how it is called, one example a paragraph, as typer needs it."""
    return "\n\n".join([f"Example{'s' if len(examples) > 1 else ''}:", *examples])


def answer(document: Mapping[str, Any], *, json: bool, human: Callable[[Console], None]) -> None:
    """Prints the answer of a command: the document with ``--json``, else the drawing of `human` on stdout."""
    if json:
        print_json(document)
    else:
        human(_console(stderr=False))


def print_lines(console: Console, *lines: str, style: str | None = None) -> None:
    """Prints lines unchanged, without markup or wrapping, since they may hold long paths."""
    console.print(*lines, sep="\n", style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Writes the document as the last line of stdout; a NaN in it is a bug and raises.

    What the encoding of stdout lacks, and the bytes of a file name that are no text, are written as JSON's
    own escapes, so that every reader gets them back.
    """
    text = json_module.dumps(document, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json_module.dumps(document, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(message: RenderableType) -> None:
    """One line for people, on stderr; nobody to read it is no reason to fail."""
    console = _console(stderr=True)
    with console.capture() as captured:
        console.print(message, markup=False, highlight=False, emoji=False, soft_wrap=True)
    with contextlib.suppress(OSError):  # written here, as rich would close stdout with a closed stderr
        sys.stderr.write(captured.get())
        sys.stderr.flush()


# Marks of our messages and tables in the letters that every console has.
_PLAIN_MARKS = str.maketrans(
    {
        "\u2026": "...",
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u201c\u201d", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        "\u00b7": "|",
        "\u00d7": "x",
        "\u2192": "->",
        "\u00a0": " ",
    }
)
_ESCAPED = "hivlp-escaped"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Replaces what a console can't show: marks by plain ones, all else by its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end].translate(_PLAIN_MARKS)
    return letters.encode("ascii", "backslashreplace").decode(), error.end


def printable(text: str) -> str:
    """A text for one line of a console: control characters, which could move its cursor, are escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) in _SHOWN
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


# Spaces, joiners of scripts, and letters newer than this Python are nothing to a cursor.
_SHOWN = ("Zs", "Cf", "Cn", "Co")


def _prepare_streams() -> None:
    """Makes stdout and stderr take any text; a stream that is closed becomes one that takes everything."""
    codecs.register_error(_ESCAPED, _escaped)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def say_device(encoder: Encoder) -> None:
    """Says where a transformers model computes: minutes on a CPU may be seconds on a GPU."""
    from hivlp.encode.base import device_of, lacks_graphs

    if hasattr(encoder, "device"):
        hint = f"; `hivlp export {encoder.name}` makes it several times faster"
        say(
            f"{encoder.name} computes on {device_of(encoder)} in float32"
            + (hint if lacks_graphs(encoder) else "")
        )


def show_failures(failed: list[dict[str, str]], *, most: int = 10, title: str | None = None) -> None:
    """Lists the first failures on stderr; the whole list is in the JSON document."""
    if not failed:
        return
    say(title or f"{counted(len(failed), 'item')} could not be used:")
    for failure in failed[:most]:
        say(f"  {failure['uri']}: {failure['error']}")
    if len(failed) > most:
        say(f"  … and {len(failed) - most} more; --json lists all")


def check_used(used: int, failed: int) -> None:
    """Ends a command with exit code 3 where there were things to use and all of them failed.

    It is called last, behind the answer.
    """
    if failed and not used:
        raise typer.Exit(NOTHING_USED)


@contextlib.contextmanager
def progress(title: str, *, unit: str = "items") -> Iterator[Progress]:
    """A progress bar on stderr, on terminals only; yields the function that moves it."""
    from hivlp.progress import bar

    console, is_hidden = _console(stderr=True), not sys.stderr.isatty()
    with bar(title, unit=unit, console=console, transient=True, disable=is_hidden) as advance:
        yield advance


def guarded(program: Callable[[], Any], *, json: bool, debug: bool) -> int:
    """Runs a program and turns any exception into a message and an exit code; no other code does this."""
    _prepare_streams()
    try:
        code = _guarded(program, json=json, debug=debug)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as error:
        # The reader of our stdout (`| head`) has gone. rich and click make an exit of it.
        if not any(isinstance(cause, BrokenPipeError) for cause in (error, error.__context__)):
            raise
        _drop_stdout()
        return OK
    except OSError as error:  # a full disk behind stdout
        _drop_stdout()
        say(f"hivlp: the output can't be written: {_of_system(error)}")
        return USER_ERROR


def _drop_stdout() -> None:
    """Lets what is still to be written to stdout go; python would report the error again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _guarded(program: Callable[[], Any], *, json: bool, debug: bool) -> int:
    try:
        code = program()
    except HivlpError as error:
        code = NOTHING_USED if isinstance(error, NothingUsableError) else USER_ERROR
        return _failed(str(error), code, json=json, debug=debug)
    except Stopped as stopped:
        return _interrupted(str(stopped))
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except typer.Exit as error:
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(_of_system(error), USER_ERROR, json=json, debug=debug)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in TRAIN_PACKAGES:
            return _failed(_of_bug(error), BUG, json=json, debug=debug)
        return _failed(
            str(MissingExtraError(package, "train", "this command")), USER_ERROR, json=json, debug=debug
        )
    except Exception as error:
        if _is_usage_error(error):
            return _failed(_of_usage(error), USER_ERROR, json=json, debug=debug)
        return _failed(_of_bug(error), BUG, json=json, debug=debug)
    if code == INTERRUPTED:  # newer versions of typer make a code of the interruption
        return _interrupted()
    return code if isinstance(code, int) else OK


def _interrupted(line: str = "stopped; finished work is kept") -> int:
    say(f"hivlp: {line}")
    return INTERRUPTED


def _failed(message: str, code: int, *, json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exc(file=sys.stderr)
    say(f"hivlp: {message}")
    if json:
        print_json({"error": message})
    return code


def _of_bug(error: Exception) -> str:
    return f"a bug in hivlp: {type(error).__name__}: {error} (run again with --debug for the traceback)"


def _of_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    remedy = _REMEDIES.get(type(error), "check the path, its permissions and the free space")
    return f"{where}{error.strerror or error}; {remedy}"


# a query in place of an option: it begins with one dash or holds a space
_LIKE_WORDS = re.compile(r"No such option: (?:-[^-]|--\S+ (?!\(Possible))")
_FAR_FETCHED = re.compile(r"(?P<begin>No such option: (?P<wrong>\S+)) \(Possible options: (?P<known>[^)]*)\)")
_NEAR = 0.7


def _is_usage_error(error: Exception) -> bool:
    # typer brings its own copy of click from 0.2x on, so the class is found by way of a public one.
    bases = [base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"]
    return isinstance(error, tuple(bases))


def _of_usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "hivlp"
    # `hivlp` alone has printed its help and has no message.
    message = error.format_message() or "give a command."
    # Newer versions of typer pass on pydantic's message, which leaves out the value.
    validated = getattr(error.__cause__, "errors", None)
    if validated is not None:
        problem = validated()[0]
        message = message.replace(problem["msg"], rule(problem))
        message = message.replace("Invalid value for", f"Invalid value {problem['input']!r} for", 1)
    like_words = command.endswith(" search") and _LIKE_WORDS.match(message) is not None
    message = _FAR_FETCHED.sub(_near_ones, message.rstrip("."))
    if "unexpected extra argument" in message:
        message += "; put a query of several words in quotes"
    if like_words:
        message += (
            "; put a query in quotes, as in 'dog -water'; one that begins with a dash goes behind --, and "
            "options before it"
        )
    return f"{message}{'' if message.endswith('?') else '.'} See: {command} --help"


def _near_ones(found: re.Match[str]) -> str:
    """The proposals of click for a wrong option, if one of them is near."""
    near = difflib.get_close_matches(found["wrong"], found["known"].split(", "), n=1, cutoff=_NEAR)
    return f"{found['begin']}. Did you mean {near[0]}?" if near else found["begin"]


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # A pipe has no width: paths must stay whole there, to be copied and searched for.
    whole = not stderr and not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=1000 if whole else None)
