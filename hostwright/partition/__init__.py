"""Large PostgreSQL tables, divided by a declared spec: spec -> catalog -> plan -> SQL -> apply."""
