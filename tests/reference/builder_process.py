"""A builder in a process of its own, for a test that kills it: URL and folder are arguments."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.reference.build import build_next
from monitor.reference.index import Indexes
from monitor.store.database import Database
from tests.reference.conftest import BagOfWords


class Slow(BagOfWords):
    """Takes long enough for each request to be killed between two of them."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        time.sleep(0.3)
        return super().embed(texts)


if __name__ == "__main__":
    build_next(Database(sys.argv[1]), Slow(), indexes=Indexes(Path(sys.argv[2])))
