"""Whether groups are treated differently: 21 metrics as functions of counts, with intervals and drift."""
