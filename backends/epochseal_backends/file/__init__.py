"""Keys in files: to try the program out, and for tests; one folder a role.

May import the ground of epochseal (errors, encoding, keys, examiner).
Never: a private key in a folder whose role may not hold it.
"""
