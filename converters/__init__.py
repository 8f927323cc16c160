"""Converters: each opens one family of files and returns a Model."""
