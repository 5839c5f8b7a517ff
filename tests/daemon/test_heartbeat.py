import re
import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.config.sections import HeartbeatSection
from monitor.daemon.heartbeat import Heartbeat
from monitor.domain import EvaluationKind
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.incidents import outbox
from monitor.store.tables.evaluations import tasks as due
from monitor.store.tables.incidents import outbox as messages
from monitor.store.traffic import pending_decisions
from tests.fleet import message, register
from tests.loopback import LOOPBACK, Receiver, answer, unused_port

CLIENT = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))


def test_it_pings_for_as_long_as_all_is_well(database: Database) -> None:
    ticks, looks = [time.monotonic()], [time.monotonic()]
    with Receiver([answer(200)]) as receiver:
        heartbeat = Heartbeat(
            database,
            CLIENT,
            HeartbeatSection(url=receiver.url),
            ticked=lambda: ticks[-1],
            told=lambda: looks[-1],
        )

        def pings() -> bool:
            before = len(receiver.seen)
            assert heartbeat.turn() is False
            return len(receiver.seen) > before

        assert pings(), "no version, no message: nothing is wrong"

        ticks.append(time.monotonic() - 60)
        assert not pings()
        assert heartbeat.reasons() == ["the scheduler has not ticked for 60 s"]
        ticks.append(time.monotonic())
        looks.append(time.monotonic() - 400)
        assert heartbeat.reasons() == ["messages that wait have not been looked at for 400 s"]
        looks.append(time.monotonic())

        with database.begin() as tx:
            version = register(tx)
            tasks.ensure(tx, first_due={EvaluationKind.HARD: timedelta()})
        assert pings()
        late = due.update().values(next_due_at=sa.func.now() - timedelta(minutes=6))
        with database.begin() as tx:
            tx.execute(late)
        assert not pings()
        assert heartbeat.reasons() == ["no evaluation has finished for 0:05:00"]
        on_time = due.update().values(next_due_at=sa.func.now())
        with database.begin() as tx:
            tx.execute(on_time.values(failures=3))
        assert not pings(), "checks that all fail are no good news"
        with database.begin() as tx:
            tx.execute(on_time.values(failures=0))

        with database.begin() as tx:
            asked = datetime.now(UTC) - timedelta(minutes=6)
            pending_decisions.add(tx, version, {}, now=asked)
        assert not pings(), "traffic that should move does not"
        [reason] = heartbeat.reasons()
        assert re.fullmatch(r"a decision about traffic has waited for \d+ s", reason)
        with database.begin() as tx:
            pending_decisions.add_returns(tx, [(version, asked)])
        with database.begin() as tx:
            outbox.enqueue(tx, channel="on-call", alert=message())
        assert pings(), "a message may take its time"
        with database.begin() as tx:
            tx.execute(messages.update().values(created_at=sa.func.now() - timedelta(minutes=6)))
        assert not pings()
        assert heartbeat.reasons() == ["a message has not been delivered for 360 s"]


def test_a_watcher_that_is_away_costs_nothing(database: Database) -> None:
    for url in (f"http://127.0.0.1:{unused_port()}/ping", "http://10.0.0.1/ping"):
        heartbeat = Heartbeat(
            database, CLIENT, HeartbeatSection(url=url), ticked=time.monotonic, told=time.monotonic
        )
        assert heartbeat.turn() is False
