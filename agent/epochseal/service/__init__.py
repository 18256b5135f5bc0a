"""The running agent: put together at its start, one thread a log, metrics and its service manager.

May import everything below the command line but doctor, demo and report.
Never: one log's failure that stops another, or a key imported before pages and couriers exist.
"""
