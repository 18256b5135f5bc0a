"""Files that survive a crash: durable writes, segments, where the chain on disk ends, compression.

May import format and the ground.
Never: a secret, or a write whose order is left to chance.
"""
