"""How this package compiles."""
