"""The folder of a model, which yosort finds by the name yoso-minilm: there is nothing to import."""
