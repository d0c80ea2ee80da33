"""The stages of the pipeline, one file each: screen, explain, learn."""
