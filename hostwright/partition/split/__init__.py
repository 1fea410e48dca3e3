"""Vertical splits: a table's wide columns in a table of their own, behind a view of the table's name."""
