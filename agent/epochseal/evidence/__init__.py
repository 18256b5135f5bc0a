"""What a verified log gives to others: proofs, trust files, time stamps, overviews, extracts.

May import the verifier, witness, storage, format and the ground.
Never: a statement about bytes that were not verified, unless it says so.
"""
