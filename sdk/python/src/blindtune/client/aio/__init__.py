"""The client for asyncio, and the source of the one that blocks: `make sdk` writes sync/ from here."""
