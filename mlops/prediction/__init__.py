"""Questions to models that somebody waits for: asked by the web process, answered by a pool of processes of their own.

The web process imports no library of models, and a model that hangs or crashes takes its own process along and nothing
else. Questions and answers pass through Valkey; none of them needs to survive anything, because the caller is still
there and can ask again.
"""
