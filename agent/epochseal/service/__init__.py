"""The running agent: put together at its start, one thread a log, metrics and its service manager.

May import every floor below its own, but not its neighbours.
Never: one log's failure that stops another, or a key fetched before pages and zygotes exist.
"""
