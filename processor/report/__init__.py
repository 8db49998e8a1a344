"""The files that an evaluation writes: tables, ranking files, pictures and a page."""
