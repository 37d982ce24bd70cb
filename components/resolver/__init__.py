"""Which earlier model a candidate is measured against."""
