"""The user's own code: SageMaker's handlers, or a WSGI application."""
