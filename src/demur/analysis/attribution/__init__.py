"""Attribution result tables: maps, regions, components of trust."""
