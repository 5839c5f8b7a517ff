from datetime import timedelta
from typing import Any

import pytest

from monitor.config.loading import parse
from monitor.config.reading import ConfigError
from monitor.daemon.parts import serving_of
from monitor.probes.embedding import Dtype
from monitor.probes.local import Device, LocalProbe, LocalSettings
from monitor.probes.serving import ServedProbe

ENGINES = {"engines": ["http://127.0.0.1:9"]}


def perplexity(**keys: Any) -> dict[str, object]:
    return {"probes": {"perplexity": keys}}


def test_a_local_base_is_asked_instead_of_the_engines() -> None:
    keys = {"base": "/models/base", "device": "cpu", "dtype": "float32", "timeout": "5s"}
    table = perplexity(source="local", **keys, batch_tokens=512, loaded_adapters=4, threads=2)
    config = parse({**table, "serving": ENGINES}, source="test", environ={})
    assert config.probes.perplexity.local == LocalSettings(
        base="/models/base",
        device=Device.CPU,
        dtype=Dtype.FLOAT32,
        batch_tokens=512,
        loaded_adapters=4,
        threads=2,
        timeout=timedelta(seconds=5),
    )
    serving = serving_of(config)
    assert isinstance(serving.probe, LocalProbe)
    # nothing is loaded before the first question
    assert serving.probe.pid is None
    assert [corpus.name for corpus in serving.probe.corpora("any")] == ["general"]
    serving.close()


def test_a_base_alone_leaves_the_engines_in_charge() -> None:
    table = {**perplexity(base="/models/base"), "serving": ENGINES}
    assert isinstance(serving_of(parse(table, source="test", environ={})).probe, ServedProbe)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"source": "local"}, 'probes.perplexity.base: needed where source = "local"'),
        ({"batch_tokens": 0}, "probes.perplexity.batch_tokens: must be at least 1"),
        ({"loaded_adapters": 0}, "probes.perplexity.loaded_adapters: must be at least 1"),
        ({"threads": 0}, "probes.perplexity.threads: must be at least 1"),
    ],
)
def test_keys_that_cannot_work_are_named(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(perplexity(**keys), source="test", environ={})
    assert problem in raised.value.problems
