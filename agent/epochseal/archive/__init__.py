"""The archiver: a process of its own that puts segments into an object store, and knows which are there.

May import service, upkeep, config, storage, format and the ground.
Never: a key of a log, or a write into a log's directory.
"""
