"""x"""
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")
