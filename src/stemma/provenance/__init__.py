"""Rows in, documents out: graphs, PROV, pictures. Knows no database and no network."""
