"""``GET /health``: whether the model answers, for whoever keeps the server running."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class Health:
    """How far the model called ``model`` is: opening until it has ``answered`` or ``failed``."""

    def __init__(self, model: str):
        self._model, self._since = model, time.monotonic()
        self._status, self._reason = "opening", ""

    def answered(self) -> None:
        """The model has given an answer."""
        self._status, self._reason = "ready", ""

    def failed(self, reason: str) -> None:
        """The model could not be opened, or could not answer; ``reason`` is read by anybody who asks."""
        self._status, self._reason = "failed", reason

    def route(self) -> Route:
        """``/health``: 200 where the model answers, else 503. It reads two words and waits for nobody."""
        return Route("/health", self._told, include_in_schema=False)

    async def _told(self, request: Request) -> JSONResponse:
        told = {
            "status": self._status, "model": self._model, "reason": self._reason,
            "seconds_up": round(time.monotonic() - self._since, 1),
        }  # fmt: skip
        return JSONResponse(told, 200 if self._status == "ready" else 503, {"Cache-Control": "no-store"})
