"""How entries become sealed lines: the chain, commits, epochs, checkpoints, restarts.

May import custody, format, storage and the ground; never the verifier.
Never: an acknowledgement before its seal is durable, or a seal or checkpoint over bytes that were only found
on the disk as if this agent had written them: a start that is not sure of what lies there says `cold`. Nor a
signature that is asked for before the lines under it are durable and remembered outside of their directory.
"""
