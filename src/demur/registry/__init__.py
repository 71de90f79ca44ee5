"""What demur knows by name: tables of lines, resolved on use.

A table maps a name to `"module:Class"`; nothing is imported until a name is resolved, so listing and checking names is
free. Adding an attack, signal, corruption, map, policy, data source, model source or architecture is one line in
`registry/tables.py`, or from another package one entry point.
"""

from demur.registry.addresses import Address
from demur.registry.building import (
    build,
    changed_fields,
    describe,
    description,
    name_of,
    named_as,
    registered_as,
)
from demur.registry.call_syntax import Call, Name, call_of, canonical, parse
from demur.registry.lookup import (
    GROUPS,
    PlugIn,
    class_names,
    kind_of,
    lookup,
    names,
    packages,
    plug_ins,
    public_class,
    refusal,
    resolve,
)
from demur.registry.tables import SHIPPED, TABLES

__all__ = [
    "GROUPS",
    "SHIPPED",
    "TABLES",
    "Address",
    "Call",
    "Name",
    "PlugIn",
    "build",
    "call_of",
    "canonical",
    "changed_fields",
    "class_names",
    "describe",
    "description",
    "kind_of",
    "lookup",
    "name_of",
    "named_as",
    "names",
    "packages",
    "parse",
    "plug_ins",
    "public_class",
    "refusal",
    "registered_as",
    "resolve",
]
