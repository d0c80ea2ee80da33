"""`python -m streams.cli`, as the installed command `redlane`."""

from streams.cli import main

main()
