"""The acts of the pipeline, one a file: screen, explain, learn."""
