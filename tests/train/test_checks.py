"""What will not work is said before the first step and before torch is loaded; `--resume` alone goes on."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hivlp.cli.train import train
from hivlp.config import TrainConfig
from hivlp.errors import ConfigError, DataError
from hivlp.scenes import samples
from hivlp.train.checks import check_sources, has_pairs
from hivlp.train.presets import PRESETS, load_preset
from hivlp.train.recorded import CONFIG, differences, recorded, resumed
from ran import Ran

Hivlp = Callable[..., Ran]


def pairs(folder: Path, count: int, *, split: Callable[[int], str] | None = None, below: str = "") -> Path:
    """A table of drawn pictures with captions."""
    (folder / below).mkdir(parents=True, exist_ok=True)
    rows = ["image,caption" + (",split" if split else "")]
    for number, sample in enumerate(samples(count, size=32)):
        (folder / below / f"{number}.png").write_bytes(sample.read())
        rows.append(f'{number}.png,"{sample.captions[0]}"' + (f",{split(number)}" if split else ""))
    table = folder / "pairs.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def small(data: object, *overrides: str, **how: Any) -> TrainConfig:
    return load_preset("small", data=str(data), overrides=overrides, **how)


def test_one_picture_is_refused_and_two_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is one picture with a caption to train on .*at least 2"):
        check_sources(small(pairs(tmp_path, 1)))
    few, repeated = check_sources(small(pairs(tmp_path, 2)))
    assert few == "only 2 pictures with captions to train on; a fine-tune needs some hundred"
    assert (
        "2 pictures with captions to train on, and a batch takes 128 of it, so every batch repeats"
        in repeated
    )


def test_a_source_as_large_as_its_batch_needs_no_note(tmp_path: Path) -> None:
    table = pairs(tmp_path, 120)
    assert check_sources(small(table, "batch_size=120")) == []
    assert len(check_sources(small(table, "batch_size=121"))) == 1
    assert check_sources(load_preset("tiny")) == []


def test_a_validation_split_without_pictures_holds_no_pairs(tmp_path: Path) -> None:
    few = pairs(tmp_path / "few", 3)
    config = small(f"{few}?held_out=0.00001")
    assert not has_pairs(config.validation[0])
    assert has_pairs(small(f"{pairs(tmp_path / 'more', 40)}?held_out=0.5").validation[0])
    assert not has_pairs(small(few).validation[0]), "a table without splits would be the training data again"
    marked = pairs(tmp_path / "marked", 4, split=lambda number: "val" if number else "train")
    assert has_pairs(small(marked).validation[0])


def test_where_all_pictures_are_held_out_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no picture with a caption in its split 'train'.*smaller share"):
        check_sources(small(f"{pairs(tmp_path, 3)}?held_out=0.99999"))


def test_the_image_root_is_where_the_paths_start(tmp_path: Path) -> None:
    table = pairs(tmp_path / "tables", 3, below="../elsewhere/deep")
    missing = r"no picture of .* can be used to train on: .*--image-root; .*0\.png: the file does not exist"
    with pytest.raises(DataError, match=missing):
        check_sources(small(table))
    config = small(table, image_root=str(tmp_path / "elsewhere/deep"))
    assert [source.spec for source in (*config.sources, *config.validation)] == [
        f"{table}?image_root={tmp_path}/elsewhere/deep"
    ] * 2
    assert check_sources(config)[0].startswith("only 3 pictures")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "{tmp}/nowhere.csv"], "nowhere.csv does not exist"),
        (["--data", "{tmp}/one/pairs.csv"], "one picture with a caption"),
        (["--data", "{tmp}/roots/pairs.csv"], "give another folder with --image-root"),
        (["--data", "{tmp}/roots/pairs.csv", "--image-root", "{tmp}/nowhere"], "nowhere does not exist"),
        (["--image-root", "{tmp}"], "has no effect without --data"),
        (["--resume"], "holds no run to go on with"),
        (["--preset", "smal"], "did you mean 'small'"),
        (["--set", "step=3"], "did you mean 'steps'"),
    ],
)
def test_the_command_refuses_without_loading_torch(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "one", 1)
    pairs(tmp_path / "roots", 2, below="../elsewhere/deep")
    given = [part.format(tmp=tmp_path) for part in arguments]
    script = (
        "import sys\nfrom hivlp.cli.main import main\n"
        f"code = main({['train', '--out', str(tmp_path / 'run'), *given]!r})\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3" if "be used to train on" in done.stderr else "2", "False"]
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Path, TrainConfig]:
    """The folder of a run that was begun, and its configuration."""
    out = tmp_path / "run"
    out.mkdir()
    config = small(pairs(tmp_path, 3), "steps=40", "batch_size=8")
    (out / CONFIG).write_text(json.dumps(config.model_dump()), encoding="utf-8")
    return out, config


def test_resume_alone_goes_on_with_what_is_recorded(
    begun: tuple[Path, TrainConfig], hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    seen: list[TrainConfig] = []

    def run(config: TrainConfig, **how: Any) -> dict[str, Any]:
        seen.append(config)
        return {"model": "m", "steps": 40, "seconds": 1.0, "eval": []}

    monkeypatch.setattr("hivlp.train.run.run", run)
    out, config = begun
    data = str(tmp_path / "pairs.csv")
    for given in (
        [],
        ["--data", data],
        ["--preset", "small"],
        ["--model", "mini"],
        ["--set", "batch_size=8"],
    ):
        assert hivlp("train", "--out", out, "--resume", *given).code == 0
        assert seen[-1] == config
    assert hivlp("train", "--out", out, "--resume", "--set", "steps=50").code == 0
    assert (seen[-1].steps, seen[-1].batch_size) == (50, 8), "whether it may is for the run to say"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"preset": "large"}, "--preset is small there and large now"),
        ({"start": "other"}, "--model is mini there and other now"),
        ({"data": "other.csv"}, r"--data is .*pairs\.csv there and other\.csv now"),
        ({"image_root": "/elsewhere"}, "--image-root is null there and /elsewhere now"),
    ],
)
def test_what_differs_from_the_run_is_named_with_both_values(
    begun: tuple[Path, TrainConfig], given: dict[str, str], words: str
) -> None:
    out, config = begun
    with pytest.raises(ConfigError, match=f"holds a run of another configuration .*{words}.*Leave these"):
        resumed(config, out, **given)  # type: ignore[arg-type]


def test_a_folder_of_a_preset_is_known_by_its_sources(tmp_path: Path) -> None:
    config = load_preset("mini", data="/data")
    assert resumed(config, tmp_path, data="/data") == config
    with pytest.raises(ConfigError, match=r"--data is /data/flickr8k.*there and /other now"):
        resumed(config, tmp_path, data="/other")


def test_differences_are_named_by_their_place() -> None:
    before = load_preset("mini", data="/data").model_dump()
    after = load_preset(
        "mini", data="/data", overrides=["seed=7", "optimisation.warmup_steps=9"]
    ).model_dump()
    after["sources"] = [*after["sources"][:1], {**after["sources"][1], "share": 9}, *after["sources"][2:]]
    assert differences(before, after) == [
        ("sources[1].share", 5, 9),
        ("optimisation.warmup_steps", 20, 9),
        ("seed", 0, 7),
    ]
    assert differences(before, before) == []


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    assert recorded(tmp_path) is None
    (tmp_path / CONFIG).write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.json can't be read .*restore it from a copy"):
        recorded(tmp_path)


def test_the_help_names_every_preset_and_the_default() -> None:
    (shown,) = (
        part.help
        for part in inspect.signature(train, eval_str=True).parameters["preset"].annotation.__metadata__
    )
    *first, last = PRESETS
    assert f"{', '.join(first)} or {last}. Default: small with --data, tiny without." in shown
