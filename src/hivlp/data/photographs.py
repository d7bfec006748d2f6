"""The photographs that the package ships: a small gallery to try searches on. It knows files, not models.

What they are, and where each can be looked up, says the README beside them.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files("hivlp"))) / "assets" / "photographs"
# A source for an index: pictures with title (as their caption) and Library of Congress number (as metadata).
TABLE = FOLDER / "photographs.tsv"


def copy(folder: Path) -> int:
    """Copies the photographs and their table into a folder, which is made. Returns how many they are."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = list(FOLDER.glob("*.jpg"))
    for file in (*pictures, TABLE):
        shutil.copyfile(file, folder / file.name)
    return len(pictures)
