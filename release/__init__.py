"""What a release is made with: the lock, and the check of what was built."""
