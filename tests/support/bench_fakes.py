"""Engines for the tests of the benchmark; a worker's process finds them by the name of this module."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hivlp_lab.bench.engines import Base, Build, Setting


class Careful(Base):
    """An exact search by the plainest loop there is; it counts how often it was built, and each setting."""

    package = "numpy"

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        return [{"kind": "loop"}]

    def build(self) -> dict[str, float]:
        self.items_ND = self.vectors.items_ND.astype(np.float32)
        self._log("build")
        return {"reading_s": 0.25}

    def settings(self) -> Sequence[Setting]:
        return [{"wrong": 1}, {"wrong": 0}]

    def use(self, setting: Setting) -> None:
        self.wrong = setting["wrong"]
        self._log(f"wrong={self.wrong}")

    def search(self, query: np.ndarray, k: int) -> np.ndarray:
        rows_K = np.argsort(-(self.items_ND @ query))[:k]
        rows_K[: self.wrong] = -1
        return rows_K

    def search_batch(self, queries_QD: np.ndarray, k: int) -> np.ndarray:
        return np.stack([self.search(query_D, k) for query_D in queries_QD])

    def _log(self, what: str) -> None:
        with Path(os.environ["BENCH_LOG"]).open("a", encoding="utf-8") as file:
            file.write(f"{what}\n")


class Stopped(Careful):
    """Its process ends at the second setting, as if it had been killed, unless it may finish."""

    def use(self, setting: Setting) -> None:
        if setting["wrong"] == 0 and "BENCH_MAY_FINISH" not in os.environ:
            os._exit(3)
        super().use(setting)


class Broken(Careful):
    """It can't be built."""

    def build(self) -> dict[str, float]:
        raise ValueError("no such luck")


class Huge(Careful):
    """It needs more memory than there is."""

    @classmethod
    def memory(cls, build: Build, count: int, width: int) -> int:
        return 1 << 60


class Absent(Careful):
    """Its package is not installed."""

    package = "a-package-that-nobody-has"


class CarefulFlat(Careful):
    """The same in the place of the flat search, with one setting."""

    exact = True

    def settings(self) -> Sequence[Setting]:
        return [{"wrong": 0}]
