"""Brings an existing history in: assets and their log from tables of any layout, told what their columns mean."""
