"""Where pictures and captions come from: sources, decoding, drawn scenes, tokenizers, batches."""
