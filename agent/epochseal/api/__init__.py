"""What a program may call: logs, keys and files are named as text, and an answer comes back or an error.

May import every floor below its own, but not its neighbours; the command line stands on it.
Never: a change to its caller's process or terminal, or a failure that could pass for a success.
"""
