"""What demur knows by name: tables of lines, resolved on use.

A table maps a name to `"module:Class"`; nothing is imported until a name is resolved, so listing and checking names is
free. Adding an attack, signal, corruption, map, policy, data source or architecture is one line in
`registry/tables.py`.
"""

from demur.registry.addresses import Address
from demur.registry.building import build, describe, name_of, registered_as
from demur.registry.call_syntax import Call, Name, call_of, canonical, parse
from demur.registry.tables import ATTACKS, CORRUPTIONS, TABLES, class_names, lookup, names, public_class, resolve

__all__ = [
    "ATTACKS",
    "CORRUPTIONS",
    "TABLES",
    "Address",
    "Call",
    "Name",
    "build",
    "call_of",
    "canonical",
    "class_names",
    "describe",
    "lookup",
    "name_of",
    "names",
    "parse",
    "public_class",
    "registered_as",
    "resolve",
]
