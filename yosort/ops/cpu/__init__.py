"""The CPU backend: host code over the compiled loops."""
