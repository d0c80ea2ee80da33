"""Input and output: one stage a file, wired in app.py."""
