"""What the hub remembers, in SQLite or PostgreSQL. `store.Store` is the only face."""
