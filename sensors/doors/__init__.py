"""How readings come in over HTTP: what a request means, and the two ways it is served.

`asgi` serves programs that show an API key, beside Django; `views` serves everybody else through Django, and describes
both for the API's documentation.
"""
