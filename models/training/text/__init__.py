"""Goods texts of known code → the experts that name codes by text. Needs torch."""
