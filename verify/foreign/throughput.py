"""x"""
def estimate(spec, case):
    from verify.foreign.cases import Outcome
    return Outcome(), {}
