"""The tokenizer: a folder's files read, called as transformers' are, and what a call returns."""

from yosort.tokenizer.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
