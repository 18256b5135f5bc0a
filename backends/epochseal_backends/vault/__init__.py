"""Keys in the transit engine of HashiCorp Vault or OpenBao.

May import hvac, requests and the ground of epochseal.
Never: a token in a message, or an endless answer waited for.
"""
