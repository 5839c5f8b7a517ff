"""HTTP routes of the engine.

`/v1/models`, `/v1/completions`, `/v1/chat/completions`, `/v1/load_lora_adapter`,
`/v1/unload_lora_adapter`, `/health`, `/version`, `/metrics`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from examples.engine import replies
from examples.engine.answer import Piece
from examples.engine.desk import Desk
from examples.engine.errors import RefusalError, invalid_input
from examples.engine.requests import ChatRequest, CompletionRequest, LoadRequest, UnloadRequest

VERSION: Final = "0.32.0+driftline.demo"


def build_app(desk: Desk) -> FastAPI:
    """Build the application; its model thread lives as long as the application runs."""

    @asynccontextmanager
    async def model_thread(_: FastAPI) -> AsyncIterator[None]:
        desk.worker.start()
        yield
        desk.worker.stop()

    app = FastAPI(title="Driftline demo engine", lifespan=model_thread)
    _add_errors(app)
    _add_answers(app, desk)
    _add_adapters(app, desk)
    _add_health(app, desk)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refused(_: Request, error: RefusalError) -> Response:
        return _json(error.body(), status=error.code)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        message = f"{where}: {first['msg']}" if where else first["msg"]
        return _json(RefusalError(message=message, param=where or None).body(), status=400)

    @app.exception_handler(HTTPException)
    async def unknown_path(_: Request, error: HTTPException) -> Response:
        code = error.status_code
        body = RefusalError(message=error.detail, kind=error.detail.replace(" ", ""), code=code)
        return _json(body.body(), status=code)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        refusal = RefusalError(message=str(error), kind="InternalServerError", code=500)
        return _json(refusal.body(), status=500)


def _add_answers(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> Response:
        answers = await desk.complete(request)
        return _json(replies.completion(request, answers))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: ChatRequest) -> Response:
        if request.stream:
            return _stream(desk, request)
        answer, done = desk.chat(request)
        await asyncio.wrap_future(done)
        wanted = bool(request.logprobs)
        return _json(replies.chat_completion(request.model, answer, logprobs=wanted))


def _add_adapters(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/models")
    async def models() -> Response:
        return _json(replies.model_list(desk.shelf.all()))

    @app.post("/v1/load_lora_adapter")
    def load(request: LoadRequest) -> Response:
        if not (request.lora_name and request.lora_path):
            raise invalid_input("Both 'lora_name' and 'lora_path' must be provided.")
        path = Path(request.lora_path)
        desk.shelf.load(request.lora_name, path, in_place=request.load_inplace)
        return PlainTextResponse(f"Success: LoRA adapter '{request.lora_name}' added successfully.")

    @app.post("/v1/unload_lora_adapter")
    def unload(request: UnloadRequest) -> Response:
        if not request.lora_name:
            raise invalid_input("'lora_name' needs to be provided to unload a LoRA adapter.")
        desk.shelf.unload(request.lora_name)
        return PlainTextResponse(
            f"Success: LoRA adapter '{request.lora_name}' removed successfully."
        )


def _add_health(app: FastAPI, desk: Desk) -> None:
    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/version")
    async def version() -> Response:
        return _json({"version": VERSION})

    @app.get("/metrics")
    async def metrics() -> Response:
        labels = f'{{engine="0",model_name="{desk.shelf.base.name}"}}'
        gauges = {"running": desk.worker.running, "waiting": desk.worker.waiting}
        lines = [
            line
            for state, value in gauges.items()
            for line in (
                f"# HELP vllm:num_requests_{state} Number of requests {state}.",
                f"# TYPE vllm:num_requests_{state} gauge",
                f"vllm:num_requests_{state}{labels} {value}",
            )
        ]
        return PlainTextResponse("\n".join([*lines, *_adapters(desk)]) + "\n")


def _adapters(desk: Desk) -> list[str]:
    """Tell which adapters ran when; every one that is served stays in memory."""
    name, places = "vllm:lora_requests_info", len(desk.shelf.all()) - 1
    return [
        f"# HELP {name} Running stats on lora requests.",
        f"# TYPE {name} gauge",
        *(
            f'{name}{{max_lora="{places}",running_lora_adapters="{names}",'
            f'waiting_lora_adapters=""}} {at}'
            for names, at in desk.worker.ran.items()
        ),
    ]


def _stream(desk: Desk, request: ChatRequest) -> StreamingResponse:
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[Piece | None] = asyncio.Queue()

    def hand_over(piece: Piece | None) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    # Queued before the reply begins, so that refusals still have their own status.
    answer, done = desk.chat(request, on_piece=hand_over)
    done.add_done_callback(lambda _: hand_over(None))
    chunks = replies.ChatChunks(request.model, desk.vocabulary, logprobs=bool(request.logprobs))

    async def body() -> AsyncIterator[bytes]:
        yield _event(chunks.first())
        while (piece := await pieces.get()) is not None:
            yield _event(chunks.piece(piece, answer))
        if (error := done.exception()) is not None:
            yield _event(
                RefusalError(message=str(error), kind="InternalServerError", code=500).body()
            )
        elif request.stream_options is not None and request.stream_options.include_usage:
            yield _event(chunks.usage(answer))
        yield b"data: [DONE]\n\n"

    return StreamingResponse(body(), media_type="text/event-stream")


def _event(body: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def _json(body: object, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
