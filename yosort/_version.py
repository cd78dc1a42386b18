"""The version, the same as in meson.build; a test compares them."""

__version__ = "0.1.0"
