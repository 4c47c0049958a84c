"""`python -m streams` is the console script `heardback`."""

from streams.cli import main

main()
