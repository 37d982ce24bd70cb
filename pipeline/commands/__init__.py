"""One module a `coronet` command; each imports what is heavy only when it is called."""
