"""One queue of rows from all requests, and one thread in which the model runs them in batches.

A batch holds at most so many tokens, whoever's they are. It begins with the row that has waited
longest; half of it then goes to the requests that have the fewest tokens left, the rest by age. So
a short text waits for the batch that runs and rides in the next one, however long the queue is, and
a long request moves in every batch. Rows of other options are computed apart, the fewest first.

Everything here happens on the event loop but the model's work: there are no locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from yosort.serve.limits import Limits
from yosort.serve.metrics import Metrics
from yosort.serve.refusals import Refusal
from yosort.tasks.stream import Item, Stream

Place = tuple[Item, int]


def length(place: Place) -> int:
    """Return the tokens of a row."""
    item, i = place
    return len(item.prepared.rows[i].ids)


@dataclass(eq=False)
class Job:
    """The rows of one request.

    Args:
        stream: of the pipeline and the options that answer it.
        items: its inputs, prepared.
        key: jobs of one key may be computed together.
    """

    stream: Stream
    items: list[Item]
    key: Hashable
    waiting: deque[Place] = field(init=False)
    tokens: int = field(init=False)
    since: float = field(init=False)
    done: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.waiting = deque((item, i) for item in self.items for i in range(len(item.outputs)))
        self.tokens = sum(map(length, self.waiting))


class Batcher:
    """The queue; `start` it on the event loop that it will live on."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._jobs: dict[Job, None] = {}  # by age
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "yosort-model")
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0
        self._seconds_a_token = 0.0

    def start(self) -> None:
        """Begin to serve the queue."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def stop(self) -> None:
        """End it, when no request is in hand any more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=True)

    @property
    def is_alive(self) -> bool:
        """Whether what comes will be answered."""
        return self._task is not None and not self._task.done()

    def retry_after(self) -> int:
        """Return after how many seconds the queue will have gone down."""
        return max(1, min(60, math.ceil(self._waiting * self._seconds_a_token)))

    async def run(self, job: Job) -> None:
        """Have a job's rows answered; its outputs, or an error, are in its items then.

        Whoever cancels this takes what still waits out of the queue.

        Raises:
            Refusal: the queue is full; or the job would never fit.
        """
        most = self._limits.max_waiting_tokens
        if job.tokens > most:
            got = f"wanted at most {most:,}, got {job.tokens:,}"
            raise Refusal(413, f"too many tokens in one request: {got}; send it in parts")
        if self._waiting and self._waiting + job.tokens > most:
            raise Refusal(
                429,
                f"{self._waiting:,} tokens wait already, and this request has {job.tokens:,}: "
                f"wanted at most {most:,} together",
                code="rate_limit_exceeded",
                retry_after=self.retry_after(),
            )
        if not job.waiting:
            return
        loop = asyncio.get_running_loop()
        job.since, job.done = loop.time(), loop.create_future()
        self._jobs[job] = None
        self._count(job.tokens)
        self._arrived.set()
        try:
            await job.done
        finally:
            self._leave(job)
        self._metrics.waited.observe(loop.time() - job.since)

    def _count(self, tokens: int) -> None:
        self._waiting += tokens
        self._metrics.waiting.set(self._waiting)

    def _leave(self, job: Job) -> None:
        """Take out of the queue what still waits of a job."""
        self._jobs.pop(job, None)
        self._count(-job.tokens)
        job.tokens = 0

    async def _serve(self) -> None:
        while True:
            while not self._jobs:
                self._arrived.clear()
                await self._arrived.wait()
            await self._gather()
            await self._run(self._take())

    async def _gather(self) -> None:
        """Wait for company, but no longer than the oldest may."""
        now = asyncio.get_running_loop().time
        until = next(iter(self._jobs)).since + self._limits.max_wait_ms / 1000
        while 0 < self._waiting < self._limits.max_batch_tokens and (left := until - now()) > 0:
            self._arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    def _take(self) -> list[tuple[Job, list[Place]]]:
        """Return the rows of the next batch by their jobs."""
        most, tokens = self._limits.max_batch_tokens, 0
        taken: dict[Job, list[Place]] = {}

        def take(job: Job) -> None:
            nonlocal tokens
            place = job.waiting.popleft()
            taken.setdefault(job, []).append(place)
            count = length(place)
            job.tokens -= count
            tokens += count

        def fill(jobs: Iterable[Job], until: int) -> None:
            for job in jobs:
                while job.waiting and tokens + length(job.waiting[0]) <= until:
                    take(job)

        by_age = list(self._jobs)
        by_size = sorted(by_age, key=lambda job: job.tokens)
        for job in by_age[:1]:
            take(job)
        fill(by_size, min(most, tokens + most // 2))
        fill(by_age, most)
        for job in taken:
            if not job.waiting:
                del self._jobs[job]
        self._count(-tokens)
        return list(taken.items())

    async def _run(self, taken: list[tuple[Job, list[Place]]]) -> None:
        """Run what was taken, what may be computed together at once, and tell whose it is."""
        groups: dict[Hashable, list[tuple[Job, list[Place]]]] = {}
        for job, places in taken:
            groups.setdefault(job.key, []).append((job, places))
        counted = [
            (sum(length(p) for _, ps in group for p in ps), group) for group in groups.values()
        ]
        for tokens, group in sorted(counted, key=lambda pair: pair[0]):
            failure = await self._compute(tokens, group)
            for job, _ in group:
                if job.done is None or job.done.done():  # whoever waited has gone
                    continue
                if failure is not None:
                    job.done.set_exception(failure)
                elif not job.waiting or any(item.error for item in job.items):
                    job.done.set_result(None)
                else:
                    continue
                self._leave(job)

    async def _compute(self, tokens: int, group: list[tuple[Job, list[Place]]]) -> Exception | None:
        """Run rows of one key; return what went wrong with all of them."""
        loop = asyncio.get_running_loop()
        places = [place for job, found in group for place in found]
        begin = loop.time()
        try:
            await loop.run_in_executor(self._thread, group[0][0].stream.run, places)
        except Exception as error:
            return error
        finally:
            seconds = loop.time() - begin
            # Half of it the newest: loads and lengths change.
            self._seconds_a_token = (self._seconds_a_token + seconds / max(1, tokens)) / 2
            self._metrics.tokens.inc(tokens)
            self._metrics.batch_tokens.observe(tokens)
            self._metrics.batch_rows.observe(len(places))
            self._metrics.batch_seconds.observe(seconds)
        return None
