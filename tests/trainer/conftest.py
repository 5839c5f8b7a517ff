from pathlib import Path

import pytest

from tests.trainer.trainee import make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a base and of an adapter."""
    return make_models(tmp_path_factory.mktemp("models"))
