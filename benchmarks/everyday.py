"""Thirty everyday searches over photographs, as one picture to look at.

    python benchmarks/everyday.py --out sheet.jpg [--model MODEL]
    python benchmarks/everyday.py flickr8k/captions.tsv --split val --out sheet.jpg

Without a source it searches the photographs that the package ships, for what several of them show.
Whether the hits are right is for a person to say: the numbers beside them are cosines; captions are not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from hivlp import Index, load
from hivlp.data.photographs import TABLE
from hivlp.data.sources import open_source
from hivlp.encode.base import Encoder
from hivlp.sheets.contact_sheet import SheetLayout, SheetRow, contact_sheet, save

PHOTOGRAPHS = (
    "a steam locomotive",
    "horses pulling a wagon",
    "a man on a horse",
    "cows in a pasture",
    "a group of children",
    "a family with small children",
    "a little girl",
    "an old man with a hat",
    "a woman working in a factory",
    "people eating together",
    "people working in a field",
    "a tractor in a field",
    "an old wooden barn",
    "a farm in a green valley",
    "a church with a steeple",
    "a shop with signs on its front",
    "a gas station",
    "cars parked along a street",
    "a truck with its load",
    "a large brick building",
    "sailing ships in the harbour",
    "a small yellow plane",
    "soldiers in uniform",
    "a factory with tall chimneys",
    "mountains with snow",
    "snow on the ground",
    "a sunset",
    "palm trees",
    "fruit and vegetables",
    "a parade with a crowd watching",
)
SOMEBODYS = (
    "a dog running on the beach",
    "a dog jumping into water",
    "a brown dog with a ball in its mouth",
    "two dogs playing in the grass",
    "a dog in the snow",
    "a child on a swing",
    "kids in a swimming pool",
    "a baby laughing",
    "a girl in a pink dress",
    "a boy jumping",
    "a man riding a bicycle",
    "a motorcycle race",
    "a skateboarder doing a trick",
    "a snowboarder in the air",
    "a surfer on a wave",
    "someone skiing down a hill",
    "a football match",
    "a basketball player",
    "a tennis player",
    "people climbing a rock",
    "a man in a kayak",
    "a boat on a lake",
    "people at a table eating",
    "a crowd in the street at night",
    "a woman with sunglasses",
    "a musician playing the guitar",
    "a bride and groom",
    "a horse",
    "mountains with snow",
    "a sunset over the sea",
)


def searches(
    encoder: Encoder, source: str | None = None, *, split: str | None = None, columns: int = 6
) -> Image.Image:
    """The sheet of thirty searches over a source, or over the photographs that the package ships."""
    queries = SOMEBODYS if source else PHOTOGRAPHS
    with TemporaryDirectory() as folder, Index.create(Path(folder) / "x.hivlp", encoder) as index:
        index.add(open_source(source or TABLE, split=split))
        return contact_sheet(
            [SheetRow(query=query, hits=index.search(query, k=columns)) for query in queries],
            title=f"{len(queries)} everyday searches",
            subtitle=f"{len(index):,} pictures, model {encoder.name}",
            layout=SheetLayout(columns=columns, thumb=120, caption_lines=0),
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", help="pictures, as `hivlp index` takes them")
    parser.add_argument("--split", help="only these of the source")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--columns", type=int, default=6, help="hits a query")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    options = parser.parse_args()
    save(
        searches(load(options.model), options.source, split=options.split, columns=options.columns),
        options.out,
    )
    print(options.out)


if __name__ == "__main__":
    main()
