"""Indexes out of and into folders of embeddings in clip-retrieval's layout; it knows no models.

img_emb/img_emb_0.npy                         vectors of pictures at the fine level
level_32_img_emb/level_32_img_emb_0.npy       those of another level, here of width 32
text_emb/…, level_32_text_emb/…               vectors of texts
metadata/metadata_0.parquet                   one row a vector, in the same order
manifest.json                                 model, levels and counts; other tools do without it
"""

from hivlp.exchange.export import SHARD_SIZE, export_index
from hivlp.exchange.importing import import_index
from hivlp.exchange.layout import ModelRecord

__all__ = ["SHARD_SIZE", "ModelRecord", "export_index", "import_index"]
