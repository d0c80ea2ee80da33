"""Declarations → the evidence that a model judges: photos, embeddings, signals of the stream."""
