"""Model versions, approvals and their ledger."""
