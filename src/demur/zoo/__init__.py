"""Architectures and their blocks; weights come from files."""
