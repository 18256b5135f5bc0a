"""Where entries come from, one file a kind, behind the protocol of `source`.

May import sealing's positions, format and the ground.
Never: work per entry on the hot path, or a line lost without a flag in the chain.
"""
