"""Where secrets live, and the only code that touches them: locked pages, the ratchet, the courier.

May import the ground only: errors, keys. Everything above passes memoryviews through here.
Never: a secret as `bytes` or `str`, in a message, or in memory that is not wiped.
"""
