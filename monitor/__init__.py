"""The service: takes records in, and produces verdicts, messages and routes."""
