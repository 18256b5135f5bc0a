"""Keys in AWS KMS.

May import boto3 and the ground of epochseal.
Never: a silent second try of an issue call, or an alias stored where the key's own id belongs.
"""
