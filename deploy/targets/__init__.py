"""Where endpoints can run; targets do not know each other."""
