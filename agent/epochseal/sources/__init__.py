"""Where entries come from, one file a kind, behind the protocol of `source`.

May import sealing.limits (what a piece is), format and the ground.
Never: work per entry on the hot path, or entries lost without `gap` in the next block.
"""
