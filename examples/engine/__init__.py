"""A small OpenAI-compatible engine that serves real LoRA adapters on a CPU.

It answers with the JSON shapes, the status codes and the messages of vLLM 0.32
for the calls that it has, and refuses with 400 what it does not have; see
`examples.engine.app` for the routes. It is for the demo and for tests: no
authentication, one process, one model thread.
"""
