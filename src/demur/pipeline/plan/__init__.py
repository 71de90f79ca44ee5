"""The TOML plan, its conditions and sections, and how it is resolved."""
