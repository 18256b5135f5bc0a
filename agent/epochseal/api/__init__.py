"""What a program may call: logs, keys and files are named as text, and an answer comes back or an error.

May import evidence, config, the verifier and everything below; the command line stands on it.
Never: a process or terminal of its caller's that is changed, or a failure that could pass for a success.
"""
