"""How entries become sealed lines: the chain, commits, epochs, checkpoints, restarts.

May import custody, format, storage and the ground; never the verifier.
Never: an acknowledgement before its seal is durable, or a seal or checkpoint over bytes that were only found
on the disk as if this agent had written them: a start that goes on from there says `reopen` or `cold`.
"""
