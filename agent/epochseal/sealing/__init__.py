"""How entries become sealed lines: the chain, commits, epochs, checkpoints, restarts.

May import custody, format, storage and the ground; never the verifier.
Never: an acknowledgement before its seal is durable, or a signature over what was merely found.
"""
