"""x"""
TARGETS = ()
