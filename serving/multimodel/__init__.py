"""Many models behind one server: loaded when they are asked for, evicted when memory is short."""
