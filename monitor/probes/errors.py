"""The errors of asking a model.

    ProbeError
    ├── ProbeFailed       the model gave no answer; ``permanent`` tells whether to try again
    │   └── ProbeTimeout  it took too long and its process was ended
    ├── ModelMissing      the model cannot be loaded: name, folder or weights are wrong
    ├── ModelNotServed    the engine answers, but does not know this model
    ├── FolderRefused    files of a model or an adapter that cannot or must not be used
    ├── FolderUnknown     nobody has said where an adapter's files are
    └── TokenizersDiffer  two models read a text as different tokens

Messages never carry text that was sent to the model.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ProbeError(Exception):
    """Root of everything this package raises on purpose."""


class ProbeFailed(ProbeError):  # noqa: N818 - it is a state to wait out, seldom a fault
    """The model gave no answer.

    ``permanent`` is true if the same request cannot succeed later. ``asked`` is true if the model
    was working on the request when it failed, so that the request may be the cause. ``again_in`` is
    the wait in seconds before asking again, if known.
    """

    def __init__(
        self, reason: str, *, permanent: bool, asked: bool = True, again_in: float | None = None
    ) -> None:
        super().__init__(reason)
        self.again_in = again_in
        self.reason = reason
        self.permanent = permanent
        self.asked = asked


class ProbeTimeout(ProbeFailed):
    """No answer within the time limit; the worker was ended and restarts on demand."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s; the worker was ended", permanent=False)


class ModelMissing(ProbeError):  # noqa: N818 - reads better where it is caught
    """The model cannot be loaded; a retry cannot help."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"model {model!r}: {reason}")
        self.reason = reason


class ModelNotServed(ProbeError):  # noqa: N818 - reads better where it is caught
    """The engine does not list this model, so nothing can be asked of it.

    The message names none of those that it serves: it may be read by those who know only ``model``.
    """

    def __init__(self, model: str, *, served: tuple[str, ...]) -> None:
        others = f"{len(served)} other models" if served else "nothing"
        super().__init__(f"the engine does not serve {model!r}; it serves {others}")
        self.served = served


class FolderRefused(ProbeError):  # noqa: N818 - reads better where it is caught
    """A folder of weights that cannot be used; the message names the file or tensor."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}")
        self.folder = folder
        self.reason = reason


class FolderUnknown(ProbeError):  # noqa: N818 - reads better where it is caught
    """No local folder is known for the requested adapter's files."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model!r}: no folder on this machine; register its version with a uri")


class TokenizersDiffer(ProbeError):  # noqa: N818 - reads better where it is caught
    """Two models split the same text into different tokens, so positions do not correspond."""


def extra_missing(model: str, module: str) -> ModelMissing:
    """Say that models on this machine lack a module, and what to install."""
    return ModelMissing(
        model,
        f"{module} is not installed; models on this machine need `pip install 'driftline[probes]'`",
    )


@contextmanager
def models_here(model: str) -> Iterator[None]:
    """Say what models on this machine lack: a module to install, or what does not load.

    Its block loads modules and sees no text of a request, so messages of errors are safe to tell.

    >>> with models_here("minilm"):
    ...     raise ModuleNotFoundError(name="torch")
    Traceback (most recent call last):
    ...
    monitor.probes.errors.ModelMissing: model 'minilm': torch is not installed; models on this\
 machine need `pip install 'driftline[probes]'`
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise extra_missing(model, (error.name or "a module").partition(".")[0]) from error
    except (ImportError, OSError) as error:
        raise ModelMissing(model, f"it cannot be loaded here: {error}") from error


def place_of(error: BaseException) -> str:
    """Name an error and where it was raised, because its message could quote a prompt.

    >>> try:
    ...     int("secret")
    ... except ValueError as error:
    ...     place_of(error).split(":")[0].split(" at ")[0]
    'ValueError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
