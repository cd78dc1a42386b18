"""Checkpoints: found, read without torch, renamed and written.

    resolve       a folder, a name or a hub id -> a local folder      hub.py, installed.py
    read_state    a folder or file of weights -> arrays by name       shards.py
                  safetensors, mapped into memory                     safetensors.py
                  torch's zip of a pickle, mapped too                 torch_zip.py, unpickle.py
    to_canonical  any dialect of names -> transformers'               names.py
    write_state   arrays by name -> model.safetensors, or shards      shards.py
    read_sentence what is said of the vectors of texts                sentence.py
    join_scales   int8 and its scales -> one weight, and back         integers.py
                  the authors' own names and sizes                    original.py

Everything that a file can do wrong is a `CheckpointError`. No file makes code run, or takes more
memory than its own size allows.
"""

from yosort.checkpoint.hub import TOKENIZER_FILES, resolve
from yosort.checkpoint.integers import join_scales, split_scales
from yosort.checkpoint.names import canonical_names, to_canonical
from yosort.checkpoint.sentence import Sentence, read_sentence
from yosort.checkpoint.shards import read_state, write_state
from yosort.checkpoint.stored import State

__all__ = [
    "TOKENIZER_FILES",
    "Sentence",
    "State",
    "canonical_names",
    "join_scales",
    "read_sentence",
    "read_state",
    "resolve",
    "split_scales",
    "to_canonical",
    "write_state",
]
