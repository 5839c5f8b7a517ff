"""Serve: ``python -m examples.engine --adapter support@v1=examples/models/support-v1``."""

import argparse
import warnings
from pathlib import Path
from typing import Final

import torch
import uvicorn
from transformers.utils.logging import disable_progress_bar

from examples.engine.app import build_app
from examples.engine.desk import Desk
from examples.engine.shelf import Shelf
from examples.weights import BASE, load_tokenizer

KEEP_ALIVE_S: Final = 120
"""An idle connection is kept longer than clients keep it: closing first, as they send, loses
their request."""


def main() -> None:
    """Load the models named on the command line and serve them until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a base model with LoRA adapters.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--base", type=Path, default=BASE, help="folder of the base model")
    parser.add_argument("--base-name", default="base", help="the name clients use for it")
    parser.add_argument(
        "--adapter", type=_named_path, action="append", default=[], metavar="NAME=FOLDER"
    )
    parser.add_argument("--log-level", default="warning")
    given = parser.parse_args()
    disable_progress_bar()
    # PEFT reads a property that transformers 5 has renamed; nothing we could change.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
    torch.set_num_threads(1)  # the model is small: threads would cost more than they save
    shelf = Shelf(given.base, base_name=given.base_name)
    for name, path in given.adapter:
        shelf.load(name, path)
    app = build_app(Desk(shelf, load_tokenizer(given.base)))
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        log_level=given.log_level,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def _named_path(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, got {text!r}")
    return name, Path(path)


if __name__ == "__main__":
    main()
