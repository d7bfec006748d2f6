"""Finds a transformers model, in a folder or a snapshot of the hub, and checks whether it is usable.

It reads names and JSON only: no torch, no transformers, no code of the model's own, and never a pickle.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hivlp.config import CONFIG_FILE
from hivlp.errors import MissingExtraError, ModelError

ModelKind: TypeAlias = Literal["hivlp", "transformers", "heads"]

PREFIX = "hf:"
HEADS_FORMAT = "hivlp-heads"
FAMILIES = ("clip", "siglip", "siglip2", "chinese_clip", "align", "vision-text-dual-encoder")
_NAMES = {"siglip": "SigLIP and SigLIP 2", "siglip2": "SigLIP 2 NaFlex", "chinese_clip": "Chinese-CLIP"}

PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model",
)  # fmt: skip
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_WANTED = [CONFIG_FILE, *PREPROCESSING, *TOKENIZER, *_WEIGHTS]
_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(?:@[\w./-]+)?")
# keys that another release of transformers may write differently, without effect on embeddings
_VOLATILE = frozenset({"transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures"})


def config_record(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder of any kind; empty where it has none."""
    try:
        record = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def model_kind(folder: Path) -> ModelKind:
    """The kind of the model in a folder, by its configuration; ``hivlp`` where it says nothing else.

    ``transformers`` is transformers' layout: the configuration names a model type. ``heads`` is levels on top
    of another model; see `encode.heads`.
    """
    record = config_record(folder)
    if "model_type" in record:
        return "transformers"
    return "heads" if record.get("format") == HEADS_FORMAT else "hivlp"


def find(spec: str) -> Path:
    """The folder behind ``hf:owner/name``, ``hf:owner/name@revision`` or ``hf:/a/folder``.

    A snapshot that the hub's cache holds is used as it is, without the network.

    Raises:
        ModelError: the model does not exist, the download failed, or the model is unusable.
    """
    name = spec.removeprefix(PREFIX)
    path = Path(name).expanduser()
    if path.is_dir():
        return checked(path)
    if not _REPOSITORY.fullmatch(name):
        raise ModelError(
            f"{spec!r} is neither a folder nor a name on the hub; write hf:owner/name, "
            "hf:owner/name@revision, or hf: and the path of a folder"
        )
    return checked(_snapshot(*name.partition("@")[::2]))


def checked(folder: Path) -> Path:
    """The folder, if it holds a dual encoder that can be used.

    Raises:
        ModelError: names the missing file or unknown type, and the remedy.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ModelError(_without_config(folder))
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is unreadable or damaged ({error}): copy or download the model again"
        ) from None
    if kind not in FAMILIES:
        raise ModelError(_unknown(folder, kind))
    if not _weights(folder):
        raise ModelError(_without_weights(folder))
    if not any((folder / name).is_file() for name in PREPROCESSING):
        raise ModelError(
            f"{folder} has no preprocessor_config.json, so the preprocessing of its pictures is unknown; "
            f"copy "
            "or download it whole, or save the processor that the model was trained with there"
        )
    if not any((folder / name).is_file() for name in TOKENIZER):
        raise ModelError(f"{folder} has no tokenizer (tokenizer.json); copy or download the model again")
    return folder


def fingerprint(folder: Path) -> str:
    """A short hash of weights, configuration, preprocessing and tokenizer; see `encode.base.fingerprint`."""
    hasher = hashlib.sha256()
    for name in (CONFIG_FILE, *PREPROCESSING):
        if (folder / name).is_file():
            record = _lasting(json.loads((folder / name).read_text(encoding="utf-8")))
            hasher.update(f"{name}{json.dumps(record, sort_keys=True)}".encode())
    for path in [*(folder / name for name in TOKENIZER), *_weights(folder)]:
        if path.is_file():
            hasher.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 22):
                    hasher.update(block)
    return hasher.hexdigest()[:16]


def needed_files(folder: Path) -> list[Path]:
    """The files of a model that are read, without other files beside them."""
    return sorted(path for pattern in _WANTED for path in folder.glob(pattern))


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(part) for key, part in value.items() if key not in _VOLATILE}
    return [_lasting(part) for part in value] if isinstance(value, list) else value


def _weights(folder: Path) -> list[Path]:
    return sorted({path for pattern in _WEIGHTS if "json" not in pattern for path in folder.glob(pattern)})


def _snapshot(repository: str, revision: str) -> Path:
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError:
        raise MissingExtraError("huggingface_hub", "train", f"the hub model {repository!r}") from None
    which: dict[str, Any] = {"revision": revision or None, "allow_patterns": _WANTED}
    try:
        cached = Path(snapshot_download(repository, local_files_only=True, **which))
        if _weights(cached):
            return cached
    except (errors.LocalEntryNotFoundError, OSError, ValueError):
        pass  # absent or incomplete: it has to come from the hub
    try:
        return Path(snapshot_download(repository, **which))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise ModelError(
            f"the hub has no model {repository!r}{f' at {revision!r}' if revision else ''} that may be read; "
            "check the name, and for a gated model log in with `hf auth login`"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{repository!r} is not in the hub's cache, and the download failed ({_reason(error)}). Fetch it "
            f"where there is a network with `hf download {repository}`, or copy its folder here and give "
            "hf:/that/folder"
        ) from None


def _reason(error: Exception) -> str:
    """The first error, shortened to one line."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= 120 else line[:120].rsplit(" ", 1)[0] + " …"


def _without_config(folder: Path) -> str:
    if (folder / "open_clip_config.json").is_file():
        return (
            f"{folder} holds a model in open_clip's layout only (open_clip_config.json, no {CONFIG_FILE}); "
            "take the same checkpoint in transformers' layout, such as "
            "hf:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
        )
    return (
        f"{folder} has no {CONFIG_FILE}, so it is not a transformers model; name a folder that "
        "save_pretrained wrote, with its tokenizer and its image processor"
    )


def _unknown(folder: Path, kind: object) -> str:
    names = ", ".join(f"{kind} ({_NAMES[kind]})" if kind in _NAMES else kind for kind in FAMILIES)
    return (
        f"{folder} is of type {kind!r}, which is not a supported dual encoder. Supported types: {names}. "
        "Code that comes with a model is never run"
    )


def _without_weights(folder: Path) -> str:
    pickled = sorted({*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")})
    if not pickled:
        return f"{folder} has no model.safetensors; copy or download the model again, with its weights"
    return (
        f"{folder} has its weights as {pickled[0].name} only. That is a pickle, which may run any code when "
        "it is read, so it is refused. Take a revision with model.safetensors (many have one at @refs/pr/1), "
        "or convert it where nothing can be lost: AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    )
