"""Traffic away from a version that has become critical, and back once it has recovered."""
