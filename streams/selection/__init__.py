"""Risks → lanes, with the inspectors' capacity kept in Redis."""
