"""Model versions: written to MLflow once, checked by their digest, kept on the worker's disk and in its memory.

MLflow is asked when a version is made and when a worker sees one for the first time; a reading never waits for it.
"""
