"""The client that blocks."""

# Made from ../aio/__init__.py by tools/unasync.py: `make sdk`.
