"""Keys in an HSM through its PKCS#11 module, with HPKE where the private key never leaves it.

May import python-pkcs11 and the ground of epochseal.
Never: a PIN in a message, or a token taken for another.
"""
