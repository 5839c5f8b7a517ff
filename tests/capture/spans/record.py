"""Record the spans of real instrumentations beside this file, from an environment of their own.

::

    python -m uvicorn --factory --port 8123 tests.capture.spans.record:engine
    make .venv-spans/.ready && .venv-spans/bin/pip install langfuse \
      opentelemetry-instrumentation-openai-v2==2.3b0 'wrapt<2'
    .venv-spans/bin/python tests/capture/spans/record.py openinference http://127.0.0.1:8123/v1

Last recorded with opentelemetry-sdk 1.45.2, OpenLLMetry 0.62.4, OpenInference 0.1.66, Langfuse
5.0.4, OpenTelemetry's openai-v2 2.3b0 and openai 3.57.0.
"""

import base64
import http.server
import json
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

MODULES = {
    "openllmetry": "opentelemetry.instrumentation.openai",
    "openinference": "openinference.instrumentation.openai",
    "opentelemetry": "opentelemetry.instrumentation.openai_v2",
}
COUNTED = {"include_usage": True}
IDS = ("traceId", "spanId", "parentSpanId")


def engine() -> Any:
    """The engine that is asked; of this project's environment."""
    return import_module("tests.gateway.stub_engine").StubEngine(models={"support@v1"}).app()


class Sink(http.server.BaseHTTPRequestHandler):
    """Keeps what exporters send."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


def main(kind: str, url: str) -> None:
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    into = f"http://127.0.0.1:{sink.server_port}"
    provider = exporting(f"{into}/v1/traces", processor="SimpleSpanProcessor")
    if kind in MODULES:
        made = instrumented(kind)
    else:
        langfuse = import_module("langfuse")
        keys = dict.fromkeys(("public_key", "secret_key"), "none")
        langfuse.Langfuse(**keys, base_url=into, tracer_provider=provider)
        made = import_module("langfuse.openai").OpenAI
    client = made(base_url=url, api_key="none", max_retries=0)
    ask(client, model="support@v1")
    try:
        client.chat.completions.create(model="nobody@v1", **asked())
    except import_module("openai").NotFoundError:
        pass
    provider.force_flush()
    Path(__file__).with_name(f"{kind}.json").write_text(json.dumps(recorded(), indent=1) + "\n")


def exporting(into: str, *, processor: str, **headers: str) -> Any:
    """Have all spans of this process sent to an address; gives the provider of their tracers."""
    provider = import_module("opentelemetry.sdk.trace").TracerProvider()
    import_module("opentelemetry.trace").set_tracer_provider(provider)
    exporter = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    sent = exporter.OTLPSpanExporter(into, headers=headers)
    processors = import_module("opentelemetry.sdk.trace.export")
    provider.add_span_processor(getattr(processors, processor)(sent))
    return provider


def instrumented(kind: str) -> Any:
    """Return ``openai.OpenAI``, whose calls an instrumentation traces from now on."""
    import_module(MODULES[kind]).OpenAIInstrumentor().instrument()
    return import_module("openai").OpenAI


def asked(text: str = "When?", *, system: str = "be kind", tokens: int = 5) -> dict[str, Any]:
    """Return a conversation and its settings; an engine may know no role ``system``."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    settings = {"temperature": 0.7, "max_tokens": tokens, "seed": 7}
    return {"messages": messages, "logprobs": True, "top_logprobs": 5} | settings


def ask(client: Any, *, model: str, **question: Any) -> None:
    """Ask whole, as a stream, and for a completion of the same text."""
    chat, told = client.chat.completions, asked(**question)
    chat.create(model=model, user="user-1", **told)
    list(chat.create(model=model, stream=True, stream_options=COUNTED, **told))
    text = told["messages"][-1]["content"]
    settings = {name: told[name] for name in ("temperature", "max_tokens", "seed")}
    client.completions.create(model=model, prompt=text, logprobs=5, **settings)


def recorded() -> dict[str, Any]:
    """What came, as OTLP writes it in JSON; without stack traces, which name this machine."""
    service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    in_json = import_module("google.protobuf.json_format")
    found: list[Any] = []
    for body in Sink.bodies:
        try:
            request = service.ExportTraceServiceRequest.FromString(body)
        except Exception:  # noqa: BLE001, S112 - Langfuse sends its scores to the same address
            continue
        found += in_json.MessageToDict(request)["resourceSpans"]
    for part in (scope for resource in found for scope in resource["scopeSpans"]):
        for span in part["spans"]:
            span |= {name: base64.b64decode(span[name]).hex() for name in IDS if name in span}
            for event in span.get("events", []):
                told = event.get("attributes", [])
                event["attributes"] = [a for a in told if a["key"] != "exception.stacktrace"]
    return {"resourceSpans": found}


if __name__ == "__main__":
    main(*sys.argv[1:])
