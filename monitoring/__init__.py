"""Profiles, evidence, alarms: pure functions on numbers."""
