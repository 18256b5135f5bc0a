"""Key backends, one module a URI scheme, found through the entry points `epochseal.backends`."""
