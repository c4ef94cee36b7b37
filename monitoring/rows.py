"""Names of the columns that live rows carry beside the model's inputs.

A decoded table has one row for each predicted row. Inputs keep their names; everything else begins with
`@`, which no input may.
"""

from __future__ import annotations

EVENT_ID = "@event_id"
"""The request's event id."""
INFERENCE_ID = "@inference_id"
"""The caller's own id; null when none was sent."""
ROW = "@row"
"""Place of the row in its request, from 0."""
AT = "@at"
"""When the request came, UTC."""
VARIANT = "@variant"
"""Who answered."""
PREDICTED = "@predicted_label"
"""The predicted class as text, or the predicted number."""
SCORE = "@score"
"""Binary: probability of the positive class. Multiclass: a list of probabilities in the order of classes."""
LABEL = "@label"
"""What really happened; null until it is known."""
LABEL_AT = "@label_at"
"""When that became known, UTC."""

META = (EVENT_ID, INFERENCE_ID, ROW, AT, VARIANT, PREDICTED, SCORE, LABEL, LABEL_AT)
"""All of them."""
