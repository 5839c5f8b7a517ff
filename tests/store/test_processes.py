"""Evidence comes back from Postgres to the last bit, or a replay would not equal the service."""

import io
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.types import Process, State
from monitor.domain import ReferenceId
from monitor.store.database import Database
from monitor.store.evaluation import processes

FIRST, SECOND = ReferenceId(1), ReferenceId(2)

evidence = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 28)),
    elements=st.floats(allow_nan=False, max_value=1e6),
)
states = st.builds(
    State,
    log_m=st.dictionaries(st.sampled_from(Process), evidence),
    watermark=st.none() | st.floats(0.0, 4e9),
    units=st.integers(0, 2**53),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each overwrites the last one
)
@given(states)
def test_a_state_survives_the_store_exactly(database: Database, support: Any, state: State) -> None:
    version_id = support.version.id

    def work(tx: Any) -> Any:
        processes.put_states(tx, {(version_id, FIRST): {"logit_ks": state}})
        return processes.states(tx, [(version_id, FIRST)], detectors=["logit_ks"])

    back = database.run(work)[version_id, FIRST]["logit_ks"]
    assert (back.watermark, back.units) == (state.watermark, state.units)
    assert back.log_m.keys() == state.log_m.keys()
    for process, values in state.log_m.items():
        assert back.log_m[process].tobytes() == values.tobytes()


def test_evidence_against_another_reference_begins_at_nothing(
    database: Database, support: Any
) -> None:
    version_id = support.version.id
    state = State(log_m={Process.PAGE: np.zeros((5, 28))}, watermark=900.0, units=40)

    def read(tx: Any, reference_id: ReferenceId) -> set[str]:
        key = (version_id, reference_id)
        return set(processes.states(tx, [key], detectors=("logit_ks", "latency"))[key])

    with database.begin() as tx:
        both = {"logit_ks": state, "latency": state}
        processes.put_states(tx, {(version_id, FIRST): both})
        assert read(tx, SECOND) == set()
        key = (version_id, FIRST)
        assert set(processes.states(tx, [key], detectors=["latency"])[key]) == {"latency"}
        processes.begin_anew(tx, version_id=version_id, detectors={"logit_ks"})
        assert read(tx, FIRST) == {"latency"}


def test_a_state_of_another_format_is_refused_by_name() -> None:
    body = processes.pack({"meta": np.array([9.0, np.nan, 0.0])})
    with pytest.raises(ValueError, match="process state has format 9, this release reads 1"):
        processes.load_state(body)


def test_arrays_that_an_earlier_release_stored_as_npz_are_read() -> None:
    notice: Any = np.arange(5, dtype=np.float32).reshape(5, 1)
    values: dict[str, Any] = {"notice": notice, "page": np.zeros((0, 2))}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **values)
    found = processes.unpack(buffer.getvalue())
    assert found.keys() == values.keys()
    for name, array in values.items():
        assert (found[name].dtype, found[name].tolist()) == (array.dtype, array.tolist())
    assert processes.unpack(processes.pack(values))["notice"].dtype == np.float32


@pytest.mark.parametrize("body", [b"", b"\x80\x04N.", processes.pack({"a": np.array(["<f8"])})])
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        processes.unpack(body)
