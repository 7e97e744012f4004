"""Exports that lose nothing, their import, and the table of flags.

`table` is what spreadsheets and programs get of flags and cases; `writer` writes all tables of a
store, `importer` reads them back, `hub` puts them on the Hugging Face Hub.
"""
