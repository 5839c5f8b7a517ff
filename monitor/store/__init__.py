"""PostgreSQL: the schema, and plain functions over a connection. No row leaves as a row."""
