"""The command line: one file a command, loaded when it is called, so that `--help` starts quickly.

May import everything; nothing imports it.
Never: data on stderr, talk on stdout, or a status that docs/cli.md does not give.
"""
