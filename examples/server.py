"""Yosort inside a FastAPI app.

    pip install fastapi uvicorn
    uvicorn --app-dir examples server:app

    curl localhost:8000/fill-mask -H 'content-type: application/json' -d '{"inputs": ["A <mask> barks."]}'

Handlers are plain functions: FastAPI runs each call in a thread of its pool, where yosort's loops let go
of Python's lock. A call gets one thread of its own, so that many at once share the cores.
"""  # noqa: E501

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

import yosort

app = FastAPI(title="yosort")
# Loaded once, when the server starts: every request shares them.
fill = yosort.pipeline("fill-mask", num_threads=1)
embed = yosort.pipeline("feature-extraction", num_threads=1)


class Texts(BaseModel):
    """What a request holds: some texts, not too many."""

    inputs: list[str] = Field(min_length=1, max_length=64)


@app.post("/fill-mask")
def fill_mask(texts: Texts, top_k: int = 5) -> list[Any]:
    """Return the answers to each text."""
    try:
        return [fill(text, top_k=top_k) for text in texts.inputs]
    except yosort.InputError as error:
        raise HTTPException(422, str(error)) from None


@app.post("/embed")
def embed_texts(texts: Texts) -> list[Any]:
    """Return a vector for each text."""
    try:
        return list(embed(texts.inputs, pooling="mean", normalize=True))
    except yosort.InputError as error:
        raise HTTPException(422, str(error)) from None
