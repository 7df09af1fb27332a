"""How the registry's tables came about, one step per file in ``versions/``; alembic applies those that are missing."""
