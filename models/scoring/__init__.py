"""The door to a model bundle: load and verify it, score declarations with it, gate its release."""
