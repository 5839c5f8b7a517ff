"""Errors that reach the client, in vLLM's shape: ``{"error": {message, type, param, code}}``."""

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False)  # not frozen: raising sets __traceback__
class RefusalError(Exception):
    """A request that is answered with an error: status, type and message."""

    message: str
    kind: str = "BadRequestError"
    code: int = 400
    param: str | None = None

    def body(self) -> dict[str, object]:
        """Build the JSON body."""
        detail = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": detail}


def not_found(message: str, param: str | None = None) -> RefusalError:
    """Refuse a model, adapter or folder that does not exist."""
    return RefusalError(message=message, kind="NotFoundError", code=404, param=param)


def invalid_input(message: str) -> RefusalError:
    """Refuse an adapter call that contradicts what is loaded."""
    return RefusalError(message=message, kind="InvalidUserInput", code=400)
