"""`python -m epochseal` is the command line too."""

from epochseal.cli import main

main()
