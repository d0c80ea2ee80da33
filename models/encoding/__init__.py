"""Goods texts and photos → embeddings. The same bytes in, the same bits out."""
