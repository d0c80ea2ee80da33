"""Data → the artifacts in models/artifacts/, and artifacts → a bundle. Needs torch."""
