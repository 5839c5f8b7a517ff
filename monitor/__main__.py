"""Make ``python -m monitor`` the same as ``driftline``."""

from monitor.cli import main

if __name__ == "__main__":
    main()
