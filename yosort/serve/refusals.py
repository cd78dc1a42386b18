"""Why a request gets no answer, whatever protocol says it."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: HTTP's.
        message: for the client's user.
        param: the field that is wrong, if one is.
        code: OpenAI's word for it, if there is one.
        retry_after: seconds after which it may go through.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.param, self.code, self.retry_after = param, code, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What clients and proxies read of it."""
        found = {}
        if self.retry_after is not None:
            found["retry-after"] = str(self.retry_after)
        if self.status == 401:
            found["www-authenticate"] = "Bearer"
        if self.status in (408, 413, 415):  # the rest of the body is not read
            found["connection"] = "close"
        return found
