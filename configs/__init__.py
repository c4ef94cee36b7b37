"""The project file: schema, reader, settings."""
