"""Input and output: one stage a file, wired in app.py."""

import models  # noqa: F401 - chooses the arithmetic, before any module of ours loads NumPy
