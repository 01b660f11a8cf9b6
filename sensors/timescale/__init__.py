"""The database engine: TimescaleDB where the extension exists, plain PostgreSQL with the same tables elsewhere."""
