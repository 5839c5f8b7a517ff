"""Fill the shapes from the store, one module a thing; the caller owns the transaction."""
