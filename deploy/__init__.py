"""Rollouts, endpoints, the gateway, targets and the controller."""
