"""Verifies many logs all the time, remembers what it found, and tells it: what `epochseal monitor` runs.

May import the programs below it (api, service, report) and every floor below those.
Never: a key in this process (each examination is a child's), a verdict of tampering from anything but a whole
verification, or a tampering that is no longer told before a person has acknowledged it.
"""
