"""One module per format that readings arrive in; each parses into `sensors.columns.Columns`."""
