"""Take in records: decode, check one by one, sample, measure, store, acknowledge."""
