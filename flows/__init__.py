"""Prefect flows and the wiring of adapters."""
