"""The example config is complete, equal to the defaults, and every wrong key is named."""

import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from monitor.config.loading import load, parse
from monitor.config.reading import ConfigError
from monitor.config.sections import Config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config.toml"
UNDOCUMENTED = {
    "by_name",  # tables named after detectors
    "source",  # where the config was read from, not a key
    "adapters",  # tables named by the user; the example is commented out
    "ports",  # both narrow what outgoing requests may do; for deployments with an API
    "schemes",  # that takes addresses, which this release does not have
    "ca_file",
    "api_key",  # secrets come by _env or _file; the example shows those
    "engine_key",
    "client_secret",
    "teacher_key",
    "key",
    "password",
    "store_password",
    "secret",
}

CUSTOM = {"name": "a", "kind": "custom", "url": "https://x.example"}


def refusal(table: dict[str, Any], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(table, source="test", environ=environ or {})
    return caught.value.problems


def test_the_example_says_the_defaults() -> None:
    example, defaults = load(EXAMPLE, environ={}), Config()
    differing = {
        f.name for f in fields(Config) if getattr(example, f.name) != getattr(defaults, f.name)
    }
    assert differing <= {"source", "detectors", "channels"}
    assert example.evaluation == defaults.evaluation
    assert [entry.kind for entry in example.channels] == ["log"]


def test_every_key_stands_in_the_example() -> None:
    table = tomllib.loads(EXAMPLE.read_text())
    missing = [path for path in _keys(Config(), table, "") if path]
    assert missing == []


def test_days_differ_as_is_said_and_detectors_keep_their_tables() -> None:
    table = {"detectors": {"assumed_day_effect": 0.1, "empty": {"enabled": False}}}
    found = parse(table, source="test", environ={})
    assert (found.day_effect.sd, found.day_effect.hours) == (0.1, 0.1)
    assert "empty" not in found.evaluation.detectors


def _keys(section: Any, table: Any, where: str) -> list[str]:
    missing = []
    for field in fields(section):
        value = getattr(section, field.name)
        if field.name in UNDOCUMENTED or value is None:  # TOML cannot say "none"
            continue
        path = f"{where}{field.name}"
        if field.name not in table:
            missing.append(path)
        elif is_dataclass(value):
            missing += _keys(value, table[field.name], f"{path}.")
    return missing


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"servr": {}}, "servr: unknown section; did you mean 'server'?"),
        ({"server": {"prt": 1}}, "server.prt: unknown key; did you mean 'port'?"),
        ({"server": {"port": "80"}}, "server.port: expected `int`, got `str`"),
        ({"server": {"port": 0}}, "server.port: 0 is no port"),
        ({"server": 8440}, "server: expected a table, got int"),
        ({"service": {"mode": "atuo"}}, "service.mode: invalid enum value 'atuo'"),
        ({"schedule": {"tick": "0s"}}, "schedule.tick: must be longer than 0"),
        ({"schedule": {"live_interval": "15"}}, "schedule.live_interval: '15' is no duration"),
        ({"schedule": {"lease": "30s"}}, "schedule.renew: must be at most half of schedule.lease"),
        ({"canary": {"weights": [0.5]}}, "canary.lasts: 3 times for 1 weights"),
        ({"canary": {"weights": [0.5, 0.2, 0.9]}}, "canary.weights: each step has a larger weight"),
        ({"canary": {"requests": 50}}, "canary.weights: step 1: at least 200 requests"),
        (
            {"canary": {"signals": ["nll"]}},
            "canary.signals: no guardrail 'nll'; there are mean_nll",
        ),
        ({"canary": {"on_blind": "guess"}}, "canary.on_blind: invalid enum value 'guess'"),
        ({"canary": {"blind_max": "9m"}}, "canary.blind_max: must be at least twice the interval"),
        ({"routing": {"router": "rediss"}}, "routing.router: no router 'rediss'; known: gateway"),
        ({"routing": {"redis": {"ulr": ""}}}, "routing.redis.ulr: unknown key; did you mean 'url'"),
        ({"routing": {"router": "redis"}}, "routing.redis.url: expected an address such as redis"),
        (
            {"routing": {"router": "webhook", "webhook": {"url": "https://h.example/r"}}},
            "routing.webhook.secret: a webhook needs a secret to sign with",
        ),
        ({"routing": {"router": "vllm"}}, "routing.vllm.engines: name every replica, here or in"),
        (
            {"routing": {"redis": {"password_env": "NONE_SUCH"}}},
            "routing.redis.password_env: the environment has no variable NONE_SUCH",
        ),
        ({"detectors": {"logit_k": {}}}, "detectors.logit_k: unknown detector; did you mean"),
        ({"detectors": {"empty": {"on": 1}}}, "detectors.empty.on: unknown key"),
        ({"detectors": []}, "detectors: expected tables [detectors.NAME]"),
        ({"detectors": {"assumed_day_effect": 2.0}}, "detectors.assumed_day_effect: must be"),
        (
            {"detectors": {"assumed_day_efect": 0.1}},
            "detectors.assumed_day_efect: unknown detector; did",
        ),
        ({"alerting": {"false_pages_per_30_days": -1}}, "alerting.false_pages_per_30_days: must"),
        (
            {"alerting": {"tiers": {"gold": {"weight": 0.0}}}},
            "alerting.tiers.gold.weight: must be above 0",
        ),
        (
            {"alerting": {"tiers": {"gold": {"weight": 2.0, "false_pages_per_30_days": 0.5}}}},
            "alerting.tiers.gold: weight and false_pages_per_30_days exclude each other",
        ),
        (
            {"alerting": {"tiers": {"gold": {"false_pages_per_30_days": 2.0}}}},
            "alerting.tiers: 2 false pages are set aside for tiers, the fleet accepts 1",
        ),
        (
            {"adapters": {"a": {"notices_per_30_days": -1.0}}},
            "adapters.a.notices_per_30_days: must be a number from 0 on",
        ),
        (
            {"detectors": {"feedback": {"higher_is_better": ["a"], "lower_is_better": ["a"]}}},
            "detectors.feedback: 'a' stands twice",
        ),
        (
            {"adapters": {"s": {"feedback": {"lower_is_better": ["a:b"]}}}},
            "adapters.s.feedback: 'a:b': a name has 1 to 128 printable characters, none a colon",
        ),
        ({"detectors": {"empty": {"lower_is_better": []}}}, "detectors.empty.lower_is_better: unk"),
        ({"alerting": {"shown_examples": 5}}, "alerting.shown_examples: needs capture.store_text"),
        ({"database": {"url": "mysql://a:s@h/x"}}, "database.url: expected an address such as"),
        ({"database": {"url": "postgresql://h:port/x"}}, "database.url: expected an address"),
        ({"routing": {"trial_share": 0.0}}, "routing.trial_share: must be above 0 and at most 1"),
        (
            {"routing": {"trial_hold": "24h"}},
            "routing.trial_limit: must be longer than routing.trial_hold",
        ),
        (
            {"routing": {"return_hold": "25h"}},
            "routing.return_hold_max: must be at least routing.return_hold",
        ),
        (
            {"reference": {"learned": {"least": 299}}},
            "reference.learned.least: must be at least 300",
        ),
        ({"outgoing": {"ca_file": "/no/ca.pem"}}, "outgoing.ca_file: /no/ca.pem: No such file"),
        ({"outgoing": {"allow": ["10.0.0.1/8"]}}, "outgoing.allow: 10.0.0.1/8 has host bits set"),
        ({"retrain": {"channels": ["x"]}}, "retrain.channels: no channel 'x'; known: none"),
        ({"routing": {"router": 3}}, "routing.router: expected `str`, got `int`"),
        ({"routing": {"router": "reddis"}}, "routing.router: no router 'reddis'; known: gateway"),
        ({"service": {"log_level": "loud"}}, "service.log_level: 'loud' is not one of"),
        ({"service": {"traces": "collector:4318"}}, "service.traces: expected an address such as"),
        (
            {"adapters": {"a\u202eb": {}}},
            "adapters.'a\\u202eb': a name has 1 to 128 printable characters",
        ),
        ({"adapters": {"a": {"tire": "x"}}}, "adapters.a.tire: unknown key; did you mean 'tier'?"),
        ({"channels": {}}, "channels: expected [[channels]] entries"),
        ({"channels": [{"kind": "log"}]}, "channels[0].name: required, a word"),
        ({"channels": [{"name": "a"}]}, "channels[0].kind: required, a word"),
        ({"channels": [{"name": "a", "kind": "sms"}]}, "channels[0].kind: no kind 'sms'"),
        (
            {"channels": [{"name": "a", "kind": "log", "unacknowledged_for": "soon"}]},
            "channels[0].unacknowledged_for: 'soon' is no duration",
        ),
        (
            {"channels": [{"name": "a", "kind": "log", "unacknowledged_for": 15}]},
            'channels[0].unacknowledged_for: expected a time such as "15m"',
        ),
        (
            {"channels": [{"name": "a", "kind": "log", "together": False}]},
            "channels[0].together: 'log' is always told one by one",
        ),
        (
            {"alerting": {"grouping": {"by": ["weather"]}}},
            "alerting.grouping.by: no fact 'weather'; known: owner, blame",
        ),
        (
            {"alerting": {"grouping": {"wait": "-1s"}}},
            "alerting.grouping.wait: ",
        ),
        (
            {"channels": [{"name": "a", "kind": "log", "match": {"sevrity": "page"}}]},
            "channels[0]: ",
        ),
        (
            {"channels": [{"name": "a", "kind": "webhook", "url": "https://x.example"}]},
            "channels[0]: channel 'webhook': ",
        ),
        (
            {"channels": [CUSTOM | {"template": "{{ sumary | tojson }}"}]},
            "channels[0]: channel 'custom': template, line 1: 'sumary' is undefined (in a message",
        ),
        ({"capture": {"target_per_day": 0}}, "capture.target_per_day: must be 1 or more"),
        ({"capture": {"bounds": {"linger": -0.1}}}, "capture.bounds.linger: must be 0 or more"),
        ({"capture": {"retention": "0d"}}, "capture.retention: must be longer than 0"),
        (
            {"channels": [{"name": "a", "kind": "log", "fallback": "b"}]},
            "channels.a.fallback: no channel is named 'b'",
        ),
        (
            {"channels": [{"name": "a", "kind": "log"}, {"name": "a", "kind": "log"}]},
            "channels: two are named 'a'",
        ),
        (
            {"channels": [{"name": "a", "kind": "webhook", "url": "u", "secret_env": "NONE"}]},
            "channels[0].secret_env: the environment has no variable NONE",
        ),
    ],
)
def test_a_wrong_config_is_told_by_path(table: dict[str, Any], said: str) -> None:
    assert refusal(table)[0].startswith(said)


def test_all_problems_of_all_sections_are_told_at_once() -> None:
    problems = refusal({"server": {"prt": 1}, "servce": {}, "policy": {"page_wait": "soon"}})
    assert len(problems) == 3


def test_adapters_inherit_the_defaults() -> None:
    config = parse(
        {
            "defaults": {"owner": "ml", "tier": "gold", "labels": {"team": "a"}},
            "adapters": {"support": {"tier": "silver"}, "booking": {}},
        },
        source="test",
        environ={},
    )
    assert config.adapters["support"].tier == "silver"
    assert config.adapters["support"].owner == "ml"
    assert config.adapters["booking"].labels == {"team": "a"}


def test_a_file_of_authorities_is_a_path_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    config = parse({"outgoing": {"ca_file": str(file)}}, source="test", environ={})
    assert config.outgoing.ca_file == str(file)
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    [problem] = refusal({"outgoing": {"ca_file": str(empty)}})
    assert problem.startswith(f"outgoing.ca_file: {empty}: ")


def test_a_template_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "body.jinja"
    file.write_text('{"text": {{ summary | tojson }}}\n')
    config = parse({"channels": [CUSTOM | {"template_file": str(file)}]}, source="test", environ={})
    assert config.channels[0].options["template"] == '{"text": {{ summary | tojson }}}'
    file.write_text('{"text": "{{ summary }}"}\n')
    [problem] = refusal({"channels": [CUSTOM | {"template_file": str(file)}]})
    assert "does not become JSON" in problem


def test_secrets_are_in_no_repr() -> None:
    config = parse(
        {
            "channels": [
                {"name": "a", "kind": "webhook", "url": "https://x.example", "secret_env": "S"}
            ],
            "serving": {"api_key_env": "K"},
        },
        source="test",
        environ={"S": "whsec_" + "QUFB" * 8, "K": "pl4nted"},
    )
    assert "QUFB" not in repr(config)
    assert "pl4nted" not in repr(config)


def test_who_keeps_prompts_back_keeps_answers_back() -> None:
    def embeds(**table: Any) -> bool:
        return parse(table, source="test", environ={}).embeds_answers

    assert embeds()
    assert not embeds(capture={"embed_prompts": False})
    assert not embeds(detectors={"output_similarity": {"enabled": False}})


def test_a_preset_is_of_an_adapter_or_of_all() -> None:
    table = {"defaults": {"preset": "classic"}, "adapters": {"support": {"preset": "budget"}}}
    found = parse(table, source="test", environ={}).evaluation
    assert (found.is_classic("support"), found.is_classic("any other")) == (False, True)
    assert not Config().evaluation.is_classic("support")
    assert (
        "adapters.support.preset: invalid"
        in refusal({"adapters": {"support": {"preset": "clasic"}}})[0]
    )


def test_feedback_is_compared_where_it_is_named() -> None:
    named = {"feedback": {"higher_is_better": ["solved"]}}
    own = {"cheap": {"feedback": {"lower_is_better": ["cost"]}}, "other": {}}
    silent = parse({"detectors": {}}, source="test", environ={}).evaluation
    assert "feedback" not in silent.detectors
    found = parse({"detectors": named, "adapters": own}, source="test", environ={}).evaluation
    assert "feedback" in found.detectors
    assert found.directions("cheap").signals == {"cost": "lower_is_better.cost"}
    assert found.directions("other") == found.directions("unheard of")
    assert found.directions("other").signals == {"solved": "higher_is_better.solved"}
