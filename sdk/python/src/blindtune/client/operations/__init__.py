"""The calls of the host, each said once as a function that answers an `Ask`, a `Listing` or a `Plan`.

Their docstrings are those of both clients' methods (resources.py).
"""
