"""The service: records in, verdicts, messages and routes out."""
