"""The model: arguments in, encoder, heads, outputs; loading and saving."""
