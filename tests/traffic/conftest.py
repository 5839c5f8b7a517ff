from pathlib import Path

import pytest

from monitor.store.database import Database
from tests.traffic.stage import World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database=database, folder=tmp_path)
