"""Put streams through one peer in the environment it is installed in.

``python -m benchmarks.statistics.peers.child NAME STREAMS.npz`` prints one line of JSON: by the
detector's name, the checks of each stream that alarmed, and the CPU time it took, split evenly
among the detectors of a peer. Only numpy and the peer are needed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
import warnings

# no telemetry: Evidently, NannyML and others look here when they are imported
os.environ.update(
    DO_NOT_TRACK="1", NML_DISABLE_USAGE_LOGGING="1", SCARF_NO_ANALYTICS="true", OMP_NUM_THREADS="1"
)

import numpy as np


def main(name: str, path: str) -> None:
    """Print what each of a peer's detectors did with every stream."""
    warnings.simplefilter("ignore")  # the peers' own, at every check
    peer = importlib.import_module(f"benchmarks.statistics.peers.ask_{name}")
    checks = getattr(peer, "CHECKS", None)  # of each stream, where a peer is too slow for all
    found: dict[str, dict[str, object]] = {}
    with np.load(path, allow_pickle=False) as streams:
        per_check = int(streams["per_check"])
        for key in (key for key in streams.files if key.startswith("live ")):
            reference = streams[key.replace("live ", "reference ", 1)]
            live = streams[key][: checks * per_check] if checks else streams[key]
            begin = time.process_time()
            said = peer.alarms(reference, live, per_check=per_check)
            cpu = (time.process_time() - begin) / len(said)
            for detector, alarms in said.items():
                seen = {"alarms": alarms, "checks": len(live) // per_check, "cpu_s": cpu}
                found.setdefault(detector, {})[key.removeprefix("live ")] = seen
    print(json.dumps({"version": importlib.metadata.version(name), "found": found}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
