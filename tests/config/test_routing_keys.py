"""The router `gateway` finds the key that a gateway beside it asks for."""

from pathlib import Path
from typing import Any

import pytest

from monitor.config.loading import parse
from monitor.config.routing import reach_of
from monitor.config.sections import Config
from monitor.config.showing import HIDDEN, shown


def _config(folder: Path, **more: Any) -> Config:
    table = {"service": {"data_dir": str(folder)}, "routing": {"router": "gateway"}}
    return parse({**table, **more}, source="test", environ={"READING": "dl_of_the_vault"})


@pytest.mark.parametrize(("asks", "found"), [(True, "dl_of_the_folder"), (False, "")])
def test_the_admin_key_goes_only_to_a_gateway_beside_it_that_asks(
    tmp_path: Path, *, asks: bool, found: str
) -> None:
    reach = reach_of(_config(tmp_path, gateway={"keys": asks}))
    assert reach.gateway_key() == ""
    (tmp_path / "admin.key").write_text("dl_of_the_folder\n")
    assert reach.gateway_key() == found


def test_a_key_for_gateways_elsewhere_is_named_and_never_shown(tmp_path: Path) -> None:
    table = {"router": "gateway", "gateway": {"key_env": "READING"}}
    config = _config(tmp_path, routing=table)
    assert config.routing.gateway.key == "dl_of_the_vault"
    told = {one.name: one.value for one in shown(config)}
    assert told["routing.gateway.key"] == HIDDEN
    assert "of_the_vault" not in repr(config)
