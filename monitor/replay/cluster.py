"""Ray, started on this machine for one replay, or joined where it runs already."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monitor.replay.errors import ReplayFailed

NO_RAY: Final = "--ray needs Ray, which `pip install 'driftline[ray]'` brings"
_ALONE: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes Ray listen on the loopback address
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """``workers`` on this machine, or the Ray cluster at an ``address``, such as ``auto``."""

    workers: int | None = None
    address: str | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Start Ray here, or join it.

        Here it listens on the loopback address only, asks for a token that nobody else has, keeps
        what it writes in a private folder while it runs, reports no usage and serves no dashboard.

        Raises
        ------
        ReplayFailed
            Ray is not installed, or no cluster answers.
        """
        with tempfile.TemporaryDirectory(
            prefix="ray-",
            dir="/tmp",  # private, and short: names of sockets have 107 bytes
            ignore_cleanup_errors=True,
        ) as private:
            if self.address is None:
                os.environ |= _ALONE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
            try:
                import ray.data  # noqa: PLC0415 (it may be missing here)
            except ImportError as error:
                raise ReplayFailed(f"{NO_RAY} ({error})") from None
            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.ERROR)
            here: dict[str, Any] = {
                "num_cpus": self.workers,
                "include_dashboard": False,
                "_temp_dir": str(Path(private) / "ray"),  # Ray opens its own folder to everybody
            }
            try:
                ray.init(
                    self.address or "local",
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **({} if self.address else here),
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ReplayFailed(f"Ray at {self.address or 'this machine'}: {error}") from None
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.execution_no_progress_timeout_s = -1  # a version may take hours
            try:
                yield
            finally:
                ray.shutdown()
