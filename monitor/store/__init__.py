"""PostgreSQL: the schema, and plain functions over a connection. No ORM row leaves it."""
