"""What changes a log besides its entries: rotation of keys, retention, compression of old segments.

May import sealing, the verifier, storage, format and the ground.
Never: a removal before the log itself says so, sealed and signed.
"""
