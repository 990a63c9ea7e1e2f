"""What a process with a mutation does before anything else: a directory for ``PYTHONPATH``."""
