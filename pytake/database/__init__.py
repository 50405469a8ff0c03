"""The database: engine, column types, upserts, encryption at rest, migrations."""
