"""Commands by subject. A module here has `register(app: typer.Typer) -> None`, which adds its commands."""
