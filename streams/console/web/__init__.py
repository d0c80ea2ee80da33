"""The inspectors' pages over HTTP."""
