"""What demur knows by name: tables of lines, resolved on use.

A table maps a name to `"module:Class"`; nothing is imported until a name is resolved, so listing and checking names is
free. Adding an attack, signal, corruption, map, policy, data source or architecture is one line in
`registry/tables.py`.
"""

from demur.registry.addresses import Address
from demur.registry.making import build, describe, name_of, named
from demur.registry.names import Call, canonical, parse
from demur.registry.tables import ATTACKS, CORRUPTIONS, TABLES, lookup, names, resolve

__all__ = [
    "ATTACKS",
    "CORRUPTIONS",
    "TABLES",
    "Address",
    "Call",
    "build",
    "canonical",
    "describe",
    "lookup",
    "name_of",
    "named",
    "names",
    "parse",
    "resolve",
]
