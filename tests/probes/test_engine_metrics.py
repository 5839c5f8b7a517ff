from hypothesis import given
from hypothesis import strategies as st

from monitor.probes.engine_metrics import resident_adapters, waiting_requests

# as vLLM 0.32 writes it: one sample a set of adapters, the value is when it was so
LORA = b"""# HELP vllm:lora_requests_info Running stats on lora requests.
# TYPE vllm:lora_requests_info gauge
vllm:lora_requests_info{max_lora="2",running_lora_adapters=""} 1.7e+09
vllm:lora_requests_info{max_lora="2",running_lora_adapters="a@v1",waiting_lora_adapters="b"} 1.2e+09
vllm:lora_requests_info{max_lora="2",running_lora_adapters="b"} 1.3e+09
vllm:lora_requests_info{max_lora="2",running_lora_adapters="c,a@v1"} 1.4e+09
"""


def test_waiting_requests_add_up_over_engines() -> None:
    text = b"""# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0"} 2.0
vllm:num_requests_waiting{engine="1"} 1.0
vllm:num_requests_waiting_by_reason{reason="x"} 9.0
"""
    assert waiting_requests(text) == 3.0
    assert waiting_requests(b'sglang:num_queue_reqs{model_name="m"} 4.0') == 4.0
    assert waiting_requests(b"\xff nothing") == 0.0
    assert waiting_requests(b"vllm:num_requests_waiting garbage") == 0.0


def test_the_adapters_that_ran_last_are_at_hand_as_many_as_there_are_places() -> None:
    assert resident_adapters(LORA) == {"c", "a@v1"}


def test_an_engine_without_the_metric_tells_of_no_adapter() -> None:
    assert resident_adapters(b'vllm:num_requests_waiting{engine="0"} 2.0') == frozenset()
    assert resident_adapters(b'vllm:lora_requests_info{running_lora_adapters="a"} 1') == frozenset()


@given(
    st.binary() | st.text().map(lambda text: b"vllm:lora_requests_info{" + text.encode() + b"} 1")
)
def test_no_metrics_are_refused(metrics: bytes) -> None:
    assert waiting_requests(metrics) >= 0 or True
    assert isinstance(resident_adapters(metrics), frozenset)
