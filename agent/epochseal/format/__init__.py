"""What the bytes of a log mean (docs/format.md): seal lines, notes, the Merkle tree, escaping.

May import the ground only: errors, encoding, keys.
Never: I/O, a clock, randomness, or a value that has two spellings.
"""
