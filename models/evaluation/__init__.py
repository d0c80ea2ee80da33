"""A bundle on data that it has not seen → figures and plots."""
