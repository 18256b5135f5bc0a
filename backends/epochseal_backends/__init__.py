"""Key backends, found through the entry points `epochseal.backends`; one folder each, with the same parts.

`backend.py` is the face that the entry point names; `wrapping.py` issues and recovers epoch secrets,
`signing.py` signs checkpoints, `examine.py` is what `epochseal doctor` asks; the rest is the folder's own.
Beside the folders stands what several of them need.
May import the ground of epochseal, and its own library in its own folder.
Never: one backend imports another.
"""
