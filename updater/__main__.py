"""`python -m updater`: the command line without an installed script."""

from updater.cli.main import main

main()
