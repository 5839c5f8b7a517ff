from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.store.database import Database
from tests.serving import Serving, serving


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path) as running:
        yield running
