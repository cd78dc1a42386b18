"""A model behind a socket: `yosort serve`.

    app.py        the routes; what each request goes through, whatever its protocol
      |
      v
    openai.py, tei.py, tasks.py     bodies -> inputs and options; answers -> bodies, errors in kind
      |
      v
    service.py    the pipelines of one model: a request prepared, answered, written; who may wait
      |
      v
    batcher.py    one queue of rows, one thread that runs the model

    beside them   limits.py (the options), refusals.py, bodies.py, metrics.py; server.py (signals)

Starlette and uvicorn speak HTTP. Model work, tokenizing and writing of JSON are done in threads:
the event loop only hands on. That requests share batches changes no bit of an answer, which is the
runtime's promise; so no route, no option and no neighbour needs a batch of its own.
"""
